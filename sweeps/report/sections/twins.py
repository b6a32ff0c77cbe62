"""Every pruned trial against its unpruned twin, seed by seed."""

from __future__ import annotations

from sweeps.report.blocks import Block, Figure, Paragraph, Section
from sweeps.report.contrasts import Contrasts
from sweeps.report.evidence import Evidence
from sweeps.report.figures.forest import LISTED, forest
from sweeps.report.figures.slopes import SHOWN as SLOPES
from sweeps.report.figures.slopes import paired_slopes
from sweeps.report.sections.comparisons import doubts, means, ranks, variances
from sweeps.report.words import metric_words, plural


def against_twins(evidence: Evidence, contrasts: Contrasts) -> Section:
    """Forest plot, paired slopes and the numbers behind them."""
    blocks: list[Block] = [Paragraph(text, strong="Not compared.") for text in contrasts.obstacles]
    picture = forest(evidence, contrasts.all, contrasts.metric)
    if picture is not None:
        blocks.append(Figure(picture, _forest_caption(contrasts)))
    slopes = paired_slopes(evidence, contrasts.metric)
    if slopes is not None:
        blocks.append(Figure(slopes, _slopes_caption(contrasts)))
    if contrasts.all:
        blocks += [means(evidence, contrasts), variances(evidence, contrasts), *doubts(contrasts)]
        blocks += ranks(contrasts)
    return Section("twins", "Pruned against unpruned", blocks or [Paragraph("There is nothing to compare yet.")])


def _forest_caption(contrasts: Contrasts) -> str:
    order = "Best trials first" if len(contrasts.all) <= LISTED else "In the order of the estimates"
    return (
        f"Each pruned trial against its unpruned twin: difference of the mean {metric_words(contrasts.metric)}, "
        "and ratio of its variances over seeds, with 95 % intervals (paired t; jackknife-t on the log of the "
        f"ratio). {order}. An interval that crosses the line leaves the direction open; arrowheads: the "
        f"interval goes on.{_beyond(contrasts)}"
    )


def _beyond(contrasts: Contrasts) -> str:
    """How the spread beyond the test set is drawn, where it is known."""
    if not any(one.excess for one in contrasts.all):
        return ""
    if len(contrasts.all) > LISTED:
        return " Dashed: the ratio of the variances beyond what the finite test set alone produces."
    return (
        " Most spread of an accuracy over seeds is that of a finite test set, which luck on other data would not "
        "share: the open diamond is the ratio of the variances beyond it (a point: few seeds bound it by nothing; "
        "none where an arm has no such variance), and on the right are the standard deviations beyond it, the "
        "twin's above the pruned trial's, with Bonett's intervals."
    )


def _slopes_caption(contrasts: Contrasts) -> str:
    total = len(contrasts.all)
    which = (
        f"the {SLOPES} best of {plural(total, 'pruned trial')}"
        if total > SLOPES
        else "every pruned trial with pairs"
    )
    return (
        f"The same seeds without and with pruning, {which}: a line joins the two networks that began from the "
        f"same weights and saw the same data in the same order ({metric_words(contrasts.metric)}). Panels share "
        "an axis where their ranges are alike."
    )
