"""Practical equivalence: a difference shown to be within a stated margin, which a large p value never shows."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt
from numpy.typing import ArrayLike
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence, normality
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.location import mean_interval
from sweeps.statistics.paired import welch, welch_scale
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, as_pairs, as_sample, is_constant

BEFOREHAND = "margin stated beforehand"


def tost_p_value(differences: Array, margin: float) -> Array:
    """The larger p value of two one-sided t tests, of mean <= -margin and of mean >= margin, along the last axis.

    Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987) 657.
    """
    n = differences.shape[-1]
    scale = differences.std(axis=-1, ddof=1) / np.sqrt(n)
    mean = differences.mean(axis=-1)
    return np.maximum(
        special.stdtr(n - 1, -(mean + margin) / scale), special.stdtr(n - 1, (mean - margin) / scale)
    )


@STATISTICS.register(takes="pairs", question="location", default=True, example={"margin": 0.5})
def equivalence(
    arm: ArrayLike, baseline: ArrayLike, *, margin: Annotated[float, Gt(0)], level: Level = 0.95
) -> Finding:
    """Whether the mean difference by seed is within a margin: two one-sided paired t tests (TOST).

    The interval has level 2 level - 1 (90 % for 95 %): equivalence is shown at `level` exactly when it lies
    within the margin.
    """
    first, second = as_pairs(arm, baseline)
    method, n, differences = f"two one-sided paired t tests, margin {margin:g}", first.size, first - second
    if n < 2:
        why = f"Equivalence not tested: {wording.plural(n, 'seed')} in both arms, at least 2 needed."
        return unanswered("equivalence", n, method, why)
    estimate = float(differences.mean())
    if is_constant(differences, float(max(np.abs(first).max(), np.abs(second).max()))):
        why = f"Every one of {n} seeds differs by {wording.signed(estimate)}: no spread to test equivalence with."
        return unanswered("equivalence", n, method, why, estimate)
    _, low, high = (float(x) for x in mean_interval(differences, 2 * level - 1))
    interval, p = Interval(low, high, 2 * level - 1), float(tost_p_value(differences, margin))
    assumptions = (independence(), normality(differences, "differences"), BEFOREHAND)
    sentence = _sentence(estimate, interval, p, margin, level, f"{n} seeds")
    return Finding("equivalence", estimate, interval, n, method, sentence, p, assumptions=assumptions)


@STATISTICS.register(takes="two_samples", question="location", example={"margin": 0.5})
def unpaired_equivalence(
    arm: ArrayLike, baseline: ArrayLike, *, margin: Annotated[float, Gt(0)], level: Level = 0.95
) -> Finding:
    """Whether the means of two arms that share no seed are within a margin: two one-sided Welch t tests."""
    first, second = as_sample(arm, "arm"), as_sample(baseline, "baseline")
    name, method = "unpaired_equivalence", f"two one-sided Welch t tests, margin {margin:g}"
    n = first.size + second.size
    if min(first.size, second.size) < 2:
        why = "Equivalence not tested: at least 2 replicates in either arm are needed."
        return unanswered(name, n, method, why)
    if is_constant(first) and is_constant(second):
        return unanswered(name, n, method, "Both arms are constant: no spread to test equivalence with.")
    estimates, _ = welch(first, second, 2 * level - 1)
    difference, scale, df = welch_scale(first, second)
    p = float(
        max(special.stdtr(df, -(difference + margin) / scale), special.stdtr(df, (difference - margin) / scale))
    )
    interval = Interval(float(estimates.low), float(estimates.high), 2 * level - 1)
    sentence = _sentence(
        float(difference), interval, p, margin, level, f"{first.size} and {second.size} replicates"
    )
    assumptions = (independence(), normality(first, "arm"), normality(second, "baseline"), BEFOREHAND)
    return Finding(name, float(difference), interval, n, method, sentence, p, assumptions=assumptions)


def _sentence(estimate: float, interval: Interval, p: float, margin: float, level: float, over: str) -> str:
    shown = "Equivalent" if p <= 1 - level else "Equivalence not shown"
    return (
        f"{shown} within ±{margin:g}: difference {wording.signed(estimate, interval.width / 2)}, "
        f"{wording.bracket(interval, sign=True)}, TOST {wording.p_value(p)}, {over}."
    )
