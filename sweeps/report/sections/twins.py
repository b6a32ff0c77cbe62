"""Every pruned trial against its unpruned twin, seed by seed."""

from __future__ import annotations

from sweeps.report.blocks import Block, Column, Figure, Paragraph, Section, Table, csv_download
from sweeps.report.contrasts import Contrast, Contrasts, Estimate
from sweeps.report.evidence import Evidence
from sweeps.report.figures.forest import LISTED, forest
from sweeps.report.figures.slopes import SHOWN as SLOPES
from sweeps.report.figures.slopes import paired_slopes
from sweeps.report.numbers import DASH, plain
from sweeps.report.words import metric_words, plural, shorten, value_text
from sweeps.statistics import wording

ROWS = 20


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
        blocks.append(_table(evidence, contrasts))
    return Section("twins", "Pruned against unpruned", blocks or [Paragraph("There is nothing to compare yet.")])


def _forest_caption(contrasts: Contrasts) -> str:
    order = "Best trials first" if len(contrasts.all) <= LISTED else "In the order of the estimates"
    return (
        f"Each pruned trial against its unpruned twin: difference of the mean {metric_words(contrasts.metric)}, "
        "and ratio of its variances over seeds, with 95 % intervals (paired t; jackknife-t on the log of the "
        f"ratio). {order}. An interval that crosses the line leaves the direction open; arrowheads: the "
        "interval goes on."
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


def _table(evidence: Evidence, contrasts: Contrasts) -> Table:
    first = contrasts.all[:ROWS]
    answers = contrasts.answers
    family, level = (answers.family, answers.level) if answers else ((0, 0), 0.95)
    caption = (
        f"{f'The first {ROWS} of' if len(contrasts.all) > ROWS else 'All'} "
        f"{plural(len(contrasts.all), 'comparison')} of {metric_words(contrasts.metric)}, pruned minus or over "
        f"twin. p values are Holm-corrected over {family[0]} tests of means (paired t) and {family[1]} of "
        "variances (Brown–Forsythe)."
    )
    columns = [
        Column("#", True),
        *(Column(shorten(short, 24), note=path) for path, short in evidence.dimensions.items()),
    ]
    columns += [
        Column("pairs", True, "seeds that finished in both"),
        Column("diverged", True, "replicates, unpruned and pruned"),
        Column("difference [95 %]", True),
        Column("p", True, "corrected; with the direction where it is shown"),
        Column("P(better)", True, "probability of improvement"),
        Column("sd unpruned → pruned", True),
        Column("variance ratio [95 %]", True),
        Column("p", True, "corrected; with the direction where it is shown"),
    ]
    trials = evidence.trials.set_index("trial_id")
    rows = []
    for one in first:
        settings = [shorten(value_text(trials.loc[one.trial_id].get(path)), 40) for path in evidence.dimensions]
        rows.append([f"{one.number}", *settings, *_numbers(one, 1 - level)])
    return Table(caption, columns, rows, csv_download(f"{evidence.sweep}-comparison", contrasts.frame))


def _numbers(one: Contrast, alpha: float) -> list[str]:
    versus = one.versus
    return [
        str(versus.difference.n if versus.paired else 0),
        f"{one.baseline.counts.diverged}, {one.row.counts.diverged}",
        _between(one.difference),
        _p(versus.p_difference, versus.difference.estimate, alpha),
        plain(versus.better.estimate, 0.1) if versus.better.estimate is not None else DASH,
        f"{_sd(one.baseline.spread.estimate)} → {_sd(one.row.spread.estimate)}",
        _ratio(one.ratio),
        _p(versus.p_variances, versus.equality.estimate, alpha),
    ]


def _between(estimate: Estimate | None) -> str:
    if estimate is None:
        return DASH
    if estimate.span is None:
        return wording.signed(estimate.value)
    half = (estimate.span[1] - estimate.span[0]) / 2
    ends = ", ".join(wording.signed(end, half) for end in estimate.span)
    return f"{wording.signed(estimate.value, half)} [{ends}]"


def _ratio(estimate: Estimate | None) -> str:
    if estimate is None:
        return DASH
    ends = f" [{', '.join(wording.ratio(end) for end in estimate.span)}]" if estimate.span else ""
    return f"{wording.ratio(estimate.value)}{ends}"


def _p(value: float | None, estimate: float | None, alpha: float) -> str:
    """A p value, followed by the direction if it is at most `alpha`."""
    if value is None:
        return DASH
    text = wording.p_value(value).removeprefix("p = ").removeprefix("p ")
    return f"{text}, {'higher' if estimate > 0 else 'lower'}" if estimate and value <= alpha else text


def _sd(value: float | None) -> str:
    return DASH if value is None else wording.number(value, value) if value else "0"
