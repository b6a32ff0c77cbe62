"""All pruned trials against their twins in two paragraphs: accuracy, and luck."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sweeps.report.blocks import Block, Paragraph
from sweeps.report.contrasts import Contrast, Contrasts
from sweeps.report.words import metric_words, plural
from sweeps.statistics import wording
from sweeps.statistics.verdict import conditions, variance_change


def of_all(contrasts: Contrasts) -> list[Block]:
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
    changes = [change for one in contrasts.all if (change := variance_change(one.versus, alpha)) is not None]
    spread = [sum(c.is_of_variance and c.direction == way for c in changes) for way in ("higher", "lower")]
    others = [f"{c.subject} {c.text}" for c in changes if c.direction and not c.is_of_variance]
    differences = [one.difference.value for one in contrasts.all if one.difference]
    ratios = [one.ratio.value for one in contrasts.all if one.ratio]
    accuracy = (
        f"{_of(mean[0], total)} a higher mean {name} than the twin, {mean[1] or 'none'} a lower one; for "
        f"{total - sum(mean)} no difference is shown (paired by seed, {tested})."
    )
    luck = (
        f"{_of(spread[1], total)} a lower variance over replicates than the twin, {spread[0] or 'none'} a higher "
        f"one; {_apart(others)}for {total - sum(spread) - len(others)} no difference is shown "
        f"(Brown–Forsythe, {tested})."
    )
    held = conditions(answers.columns)
    more = (_median(ratios, "ratio of variances"), _beyond(contrasts.all), _healthy(contrasts.all))
    blocks: list[Block] = [
        Paragraph(accuracy + _median(differences, "difference"), strong="Accuracy."),
        Paragraph("".join([luck, *more, _power(contrasts.all)]), strong="Luck."),
    ]
    blocks += [Paragraph(f"All of this is conditional on {held}.", strong="Conditions.")] if held else []
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


def _apart(others: Sequence[str]) -> str:
    """Findings that are none of the variance among healthy seeds, counted by kind."""
    return "".join(f"{others.count(kind)} with {kind}; " for kind in dict.fromkeys(others))


def _of(count: int, total: int) -> str:
    """`3 of 16 pruned trials have`, `None of 16 pruned trials has`."""
    return f"{count or 'None'} of {plural(total, 'pruned trial')} {'has' if count < 2 else 'have'}"


def _median(values: Sequence[float], name: str) -> str:
    if not values:
        return ""
    middle = float(np.median(values))
    text = wording.signed(middle, middle) if name == "difference" else wording.ratio(middle)
    return f" The median {name} is {text}."


def _beyond(found: Sequence[Contrast]) -> str:
    """How much of the spread the finite test set alone makes, which is often most of it."""
    shares = [
        float(share)
        for one in found
        for arm in (one.baseline, one.row)
        if arm.excess is not None and (share := arm.excess.details.get("share_of_test_set")) is not None
    ]
    if not shares:
        return ""
    excess = [one.excess_ratio for one in found if one.excess_ratio is not None]
    middle = min(float(np.median(shares)), 1.0)
    text = f" A finite test set alone makes {100 * middle:.0f} % of a trial's variance (median)"
    if excess:
        ratio = wording.ratio(float(np.median(excess)))
        return f"{text}; of what is beyond, the median ratio is {ratio} ({len(excess)} of {len(found)} have one)."
    return f"{text}; no twin has more than that, so that there is no ratio of what is beyond."


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
        f" With these many seeds corrected tests find ratios beyond {smallest}, or 1/{smallest}, in 80 % of cases."
    )
