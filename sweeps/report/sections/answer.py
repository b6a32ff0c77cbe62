"""The question, and what the sweep says to it: first on the page."""

from __future__ import annotations

import numpy as np

from sweeps.report.blocks import Block, Card, Cards, Paragraph, Section
from sweeps.report.contrasts import Contrast, Contrasts, Estimate
from sweeps.report.evidence import Evidence
from sweeps.report.numbers import with_interval
from sweeps.report.sections.overall import of_all
from sweeps.report.words import metric_words, plural
from sweeps.statistics import wording
from sweeps.statistics.verdict import variance_change
from sweeps.status import Status

QUESTION = (
    "Does pruning make these networks smaller, more accurate, and less dependent on the luck of "
    "the initialisation?"
)
SIZE = "parameters_kept"


def answer(evidence: Evidence, contrasts: Contrasts) -> Section:
    """The best pruned trial in three numbers, then all trials in sentences."""
    blocks: list[Block] = [Paragraph(QUESTION, lead=True)]
    best = evidence.best_pruned
    if best is None:
        blocks.append(Paragraph("No pruned trial has a result yet, so there is no answer yet."))
        return Section("answer", "Question and answer", [*blocks, *_failures(evidence)])
    found = contrasts.of(str(best["trial_id"]))
    blocks.append(Paragraph(_verdict(evidence, contrasts.metric, found)))
    blocks.append(_cards(evidence, contrasts.metric, found))
    blocks.append(Paragraph(_chosen(evidence, contrasts)))
    blocks += [*of_all(contrasts), *_failures(evidence)]
    if found is not None:
        blocks.append(Paragraph(found.sentence, strong=f"Trial #{found.number} in full."))
    return Section("answer", "Question and answer", blocks)


def _verdict(evidence: Evidence, metric: str, found: Contrast | None) -> str:
    """The answer in a sentence, for the best pruned trial."""
    best = evidence.best_pruned
    assert best is not None  # noqa: S101 - asked by the caller
    kept = float(best.get(f"{SIZE}.mean", float("nan")))
    size = f"keeps {100 * kept:.3g} % of the parameters" if np.isfinite(kept) else "has no known size"
    if found is None:
        return f"The best pruned trial {size}; it has no unpruned twin to be compared with yet."
    name, alpha = metric_words(metric), 0.05
    p, q = found.versus.p_difference, found.versus.p_variances
    means = _direction(p, found.difference and found.difference.value, alpha)
    change = variance_change(found.versus, alpha)
    spread = change.text if change and change.direction else _direction(q, found.versus.equality.estimate, alpha)
    return (
        f"The best pruned trial {size}. Compared with its unpruned twin, its mean {name} is {means}, and its "
        f"{change.subject if change else 'variance'} over seeds is {spread}."
    )


def _direction(p: float | None, estimate: float | None, alpha: float) -> str:
    """What a corrected test says, as the end of a sentence."""
    if p is None or not estimate:
        return "not tested"
    return (
        f"not shown to differ (corrected {wording.p_value(p)})"
        if p > alpha
        else "higher"
        if estimate > 0
        else "lower"
    )


def _cards(evidence: Evidence, metric: str, found: Contrast | None) -> Cards:
    best = evidence.best_pruned
    assert best is not None  # noqa: S101 - asked by the caller
    mean, _, half = with_interval(best, SIZE).partition(" ± ")
    size = Card("Smaller?", mean, f"± {half}" if half else "", "share of the parameters kept")
    if found is None:
        return Cards([size])
    means, _, variances = found.verdict.partition("; ")
    return Cards(
        [
            size,
            Card(
                "More accurate?", *_signed(found.difference), f"{metric_words(metric)} minus the twin's: {means}"
            ),
            Card("Less luck?", *_times(found.ratio), f"variance over seeds, relative to the twin's: {variances}"),
        ]
    )


def _signed(estimate: Estimate | None) -> tuple[str, str]:
    """A difference and its interval."""
    if estimate is None:
        return "—", "no estimate"
    if estimate.span is None:
        return wording.signed(estimate.value), "no interval"
    half = (estimate.span[1] - estimate.span[0]) / 2
    return wording.signed(estimate.value, half), " to ".join(wording.signed(end, half) for end in estimate.span)


def _times(estimate: Estimate | None) -> tuple[str, str]:
    """A ratio and its interval."""
    if estimate is None:
        return "—", "no estimate"
    ends = " to ".join(wording.ratio(end) for end in estimate.span) if estimate.span else "no interval"
    return f"{wording.ratio(estimate.value)} ×", ends


def _chosen(evidence: Evidence, contrasts: Contrasts) -> str:
    best, objective = evidence.best_pruned, evidence.objective
    assert best is not None  # noqa: S101 - asked by the caller
    settings = evidence.settings(best)
    where = f" ({settings})" if settings else ""
    rank = "the best of all trials" if best["number"] == 1 else "the best pruned one"
    return (
        f"These numbers are of trial #{best['number']}{where}, {rank} by the {objective.statistic} of its "
        f"{metric_words(objective.metric)}; ± and brackets are 95 % intervals over its "
        f"{plural(int(best['n']), 'seed')}."
    )


def _failures(evidence: Evidence) -> list[Block]:
    total, ended = len(evidence.table), evidence.table["status"].astype(str)
    counts = {status: int((ended == status).sum()) for status in (Status.DIVERGED, Status.FAILED, Status.STOPPED)}
    if total and not any(counts.values()):
        return [Paragraph(f"None: all {plural(total, 'recorded replicate')} finished.", strong="Failures.")]
    text = (
        f"Of {plural(total, 'recorded replicate')}, {counts[Status.DIVERGED]} diverged, {counts[Status.FAILED]} "
        f"failed and {counts[Status.STOPPED]} {'was' if counts[Status.STOPPED] == 1 else 'were'} stopped early; "
        "these are in no comparison above."
    )
    return [Paragraph(text, strong="Failures.")]
