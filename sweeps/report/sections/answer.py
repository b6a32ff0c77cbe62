"""The question, and what the sweep says to it: first on the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sweeps.report.blocks import Block, Card, Cards, Paragraph, Section
from sweeps.report.contrasts import Contrast, Contrasts, Estimate
from sweeps.report.evidence import Evidence
from sweeps.report.numbers import with_interval
from sweeps.report.words import metric_words, plural
from sweeps.statistics import wording
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
    blocks.append(_cards(evidence, contrasts.metric, found))
    blocks.append(Paragraph(_chosen(evidence, contrasts)))
    if found is not None:
        blocks.append(Paragraph(found.sentence, strong=f"Trial #{found.number}."))
    blocks += [*_family(contrasts), *_failures(evidence)]
    return Section("answer", "Question and answer", blocks)


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
        f"{plural(int(best['n']), 'replicate')}."
    )


def _family(contrasts: Contrasts) -> list[Block]:
    """All pruned trials against their twins: how many were found higher, lower, and the typical change."""
    if not contrasts.all or contrasts.answers is None:
        return [Paragraph(text, strong="Not compared.") for text in contrasts.obstacles]
    answers, total = contrasts.answers, len(contrasts.all)
    alpha = 1 - answers.level
    tested = f"{answers.correction.capitalize()}-corrected at {100 * alpha:.3g} %"
    name = metric_words(contrasts.metric)
    mean = _counted(
        contrasts.all, lambda one: (one.versus.p_difference, one.difference and one.difference.value), alpha
    )
    spread = _counted(contrasts.all, lambda one: (one.versus.p_variances, one.versus.equality.estimate), alpha)
    differences = [one.difference.value for one in contrasts.all if one.difference]
    ratios = [one.ratio.value for one in contrasts.all if one.ratio]
    blocks = [
        Paragraph(
            f"{_of(mean[0], total)} a higher mean {name} than the twin, {mean[1] or 'none'} a lower one; for "
            f"{total - sum(mean)} no difference is shown (paired by seed, "
            f"{tested}).{_median(differences, 'difference')}",
            strong="Accuracy.",
        ),
        Paragraph(
            f"{_of(spread[1], total)} a lower variance over replicates than the twin, {spread[0] or 'none'} a "
            f"higher one; for {total - sum(spread)} no difference is shown (Brown–Forsythe, "
            f"{tested}).{_median(ratios, 'ratio of variances')}{_healthy(contrasts.all)}{_power(contrasts.all)}",
            strong="Luck.",
        ),
    ]
    return [*blocks, *(Paragraph(text, strong="Not compared.") for text in contrasts.obstacles)]


def _counted(
    found: Sequence[Contrast], pick: Callable[[Contrast], tuple[float | None, float | None]], alpha: float
) -> tuple[int, int]:
    """How many were found higher, and how many lower."""
    higher = lower = 0
    for one in found:
        p, estimate = pick(one)
        if p is not None and estimate is not None and p <= alpha:
            higher, lower = higher + (estimate > 0), lower + (estimate < 0)
    return higher, lower


def _of(count: int, total: int) -> str:
    """`3 of 16 pruned trials have`, `None of 16 pruned trials has`."""
    return f"{count or 'None'} of {plural(total, 'pruned trial')} {'has' if count < 2 else 'have'}"


def _median(values: Sequence[float], name: str) -> str:
    if not values:
        return ""
    middle = float(np.median(values))
    text = wording.signed(middle, middle) if name == "difference" else wording.ratio(middle)
    return f" The median {name} is {text}."


def _healthy(found: Sequence[Contrast]) -> str:
    """A variance that drops because broken networks were repaired is a finding of its own."""
    ratios = [
        one.versus.healthy_ratio.estimate
        for one in found
        if one.versus.healthy_ratio is not None and one.versus.healthy_ratio.estimate is not None
    ]
    if not ratios:
        return ""
    middle = wording.ratio(float(np.median(ratios)))
    return (
        f" In {plural(len(ratios), 'comparison')} some networks collapsed; there the median ratio "
        f"among seeds that are healthy in both arms is {middle}."
    )


def _power(found: Sequence[Contrast]) -> str:
    """What these many seeds could have shown, which is not much when they are few."""
    ratios = [one.versus.smallest_ratio.estimate for one in found if one.versus.smallest_ratio.estimate]
    if not ratios:
        return " With so few seeds no ratio of variances could have been shown."
    smallest = wording.ratio(float(np.median(ratios)))
    return (
        f" With these many seeds a single test finds ratios beyond {smallest}, or 1/{smallest}, in 80 % of cases."
    )


def _failures(evidence: Evidence) -> list[Block]:
    total, ended = len(evidence.table), evidence.table["status"].astype(str)
    counts = {status: int((ended == status).sum()) for status in (Status.DIVERGED, Status.FAILED, Status.STOPPED)}
    text = (
        f"Of {plural(total, 'recorded replicate')}, {counts[Status.DIVERGED]} diverged, {counts[Status.FAILED]} "
        f"failed and {counts[Status.STOPPED]} {'was' if counts[Status.STOPPED] == 1 else 'were'} stopped early; "
        "none of them is in a comparison above."
    )
    return [Paragraph(text, strong="Failures.")]
