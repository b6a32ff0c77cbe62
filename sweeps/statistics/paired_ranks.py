"""Differences by seed without normality: Wilcoxon's signed ranks, and permutation of arms within seeds."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import ArrayLike
from scipy import stats

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level, Resamples
from sweeps.statistics.resampling import (
    permutation_p_value,
    permuted_log_ratios,
    permuted_mean_differences,
    sign_flips,
)
from sweeps.statistics.samples import Array, as_pairs, is_constant
from sweeps.statistics.spread import log_variance

Seed = Annotated[int, Ge(0)]


@lru_cache(maxsize=1024)
def signed_rank_place(n: int, level: float) -> int:
    """Largest k with P(W < k) <= (1 - level) / 2 for the null signed-rank statistic of n; 0 if there is none.

    The null counts are the coefficients of the product of (1 + z^i), i = 1..n.

    Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, section 3.3.
    """
    counts = np.ones(1)
    for i in range(1, n + 1):
        longer = np.zeros(counts.size + i)
        longer[: counts.size] += counts
        longer[i:] += counts
        counts = longer / 2
    return int(np.count_nonzero(np.cumsum(counts) <= (1 - level) / 2))


def walsh_averages(differences: Array) -> Array:
    """Sorted averages of all pairs of differences, each with itself included; shape (n (n + 1) / 2,)."""
    first, second = np.triu_indices(differences.size)
    return np.sort((differences[first] + differences[second]) / 2)


def _nothing(statistic: str, method: str, arm: Array, baseline: Array) -> Finding | None:
    n = arm.size
    if n < 2:
        why = f"Differences not tested: {wording.plural(n, 'seed')} in both arms, at least 2 needed."
        return unanswered(statistic, n, method, why)
    differences = arm - baseline
    if is_constant(differences, float(max(np.abs(arm).max(), np.abs(baseline).max()))):
        estimate = float(differences.mean())
        why = f"Every one of {n} seeds differs by {wording.signed(estimate)}: no spread to test against."
        return unanswered(statistic, n, method, why, estimate)
    return None


@STATISTICS.register(takes="pairs", question="location", antisymmetric=True)
def wilcoxon(arm: ArrayLike, baseline: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Pseudo-median of the differences by seed (Hodges–Lehmann) with Wilcoxon's signed-rank interval and test."""
    first, second = as_pairs(arm, baseline)
    method = "Wilcoxon signed rank, Hodges–Lehmann estimate with its exact interval"
    nothing = _nothing("wilcoxon", method, first, second)
    if nothing:
        return nothing
    differences, n = first - second, first.size
    averages = walsh_averages(differences)
    estimate, p = float(np.median(averages)), float(stats.wilcoxon(differences).pvalue)
    place = signed_rank_place(n, level)
    assumptions = (independence(), "differences symmetric about their median")
    if place == 0:
        shown = f"Pseudo-median difference {wording.signed(estimate)}, Wilcoxon {wording.p_value(p)}, {n} seeds"
        why = f"{shown}: too few for a {wording.percent(level)} interval."
        return Finding("wilcoxon", estimate, None, n, method, why, p, assumptions=assumptions)
    interval = Interval(float(averages[place - 1]), float(averages[-place]), level)
    sentence = (
        f"Pseudo-median difference {wording.signed(estimate, interval.width / 2)}, "
        f"{wording.bracket(interval, sign=True)}, Wilcoxon {wording.p_value(p)}, {n} seeds."
    )
    return Finding("wilcoxon", estimate, interval, n, method, sentence, p, assumptions=assumptions)


@STATISTICS.register(takes="pairs", question="location", antisymmetric=True)
def paired_permutation(
    arm: ArrayLike, baseline: ArrayLike, *, resamples: Resamples = 9999, seed: Seed = 0
) -> Finding:
    """Mean difference by seed, tested by swapping arms within seeds (all ways if no more than `resamples`)."""
    first, second = as_pairs(arm, baseline)
    method = "paired permutation of the mean difference"
    nothing = _nothing("paired_permutation", method, first, second)
    if nothing:
        return nothing
    differences, signs = first - second, sign_flips(first.size, resamples, seed)
    estimate = float(differences.mean())
    permuted = permuted_mean_differences(differences, signs)
    p = float(permutation_p_value(np.asarray(estimate), permuted, signs.exact))
    how = "all" if signs.exact else "random"
    shown = f"Difference {wording.signed(estimate)}, {wording.p_value(p)}"
    sentence = f"{shown} over {len(signs.swapped)} {how} swaps of arms within {first.size} seeds."
    assumptions = (independence(), "under the null, arms exchangeable within a seed")
    return Finding("paired_permutation", estimate, None, first.size, method, sentence, p, assumptions=assumptions)


@STATISTICS.register(takes="pairs", question="spread", reciprocal=True, holds_level=False)
def variance_permutation(
    arm: ArrayLike, baseline: ArrayLike, *, resamples: Resamples = 9999, seed: Seed = 0
) -> Finding:
    """Ratio of variances by seed, tested by swapping centred arms within seeds; offered, never the verdict."""
    first, second = as_pairs(arm, baseline)
    method, n = "paired permutation of the log variance ratio, arms centred", first.size
    if n < 3:
        why = f"Variances not tested: {wording.plural(n, 'seed')} in both arms, at least 3 needed."
        return unanswered("variance_permutation", n, method, why)
    if is_constant(first) or is_constant(second):
        return unanswered("variance_permutation", n, method, "Variances not tested: an arm is constant.")
    signs = sign_flips(n, resamples, seed)
    observed = log_variance(first) - log_variance(second)
    p = float(permutation_p_value(observed, permuted_log_ratios(first, second, signs), signs.exact))
    ratio = float(np.exp(observed))
    how = "all" if signs.exact else "random"
    shown = f"Variance ratio {wording.ratio(ratio)}, {wording.p_value(p)}"
    sentence = f"{shown} over {len(signs.swapped)} {how} swaps of centred arms within {n} seeds."
    assumptions = (independence(), "under the null, centred arms exchangeable within a seed")
    return Finding("variance_permutation", ratio, None, n, method, sentence, p, assumptions=assumptions)
