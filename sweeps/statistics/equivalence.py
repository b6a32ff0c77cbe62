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
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, as_pairs, is_constant


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
    shown = "Equivalent" if p <= 1 - level else "Equivalence not shown"
    sentence = (
        f"{shown} within ±{margin:g}: difference {wording.signed(estimate, interval.width / 2)}, "
        f"{wording.bracket(interval, sign=True)}, TOST {wording.p_value(p)}, {n} seeds."
    )
    assumptions = (independence(), normality(differences, "differences"), "margin stated beforehand")
    return Finding("equivalence", estimate, interval, n, method, sentence, p, assumptions=assumptions)
