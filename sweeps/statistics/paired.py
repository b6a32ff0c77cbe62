"""Differences between an arm and its baseline, paired by seed; Welch's t where no seed is shared."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence, normality
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.location import mean_interval
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import (
    Array,
    Estimates,
    as_pairs,
    as_sample,
    is_constant,
    t_p_value,
    t_quantile,
)

# Measured at a nominal 95 %, n = 5 to 30, lognormal(1) arms of unequal variance
# (`benchmarks/calibration.py`).
COVERAGE = (
    "under strong skew and unequal variances a 95 % interval covers 81–93 %, and the test rejects 7–19 % at 5 %"
)


def paired_t_p_value(differences: Array) -> Array:
    """Two-sided p of the paired t test along the last axis, n >= 2."""
    n = differences.shape[-1]
    t = differences.mean(axis=-1) / (differences.std(axis=-1, ddof=1) / np.sqrt(n))
    return t_p_value(t, n - 1)


def small_sample_correction(df: int) -> float:
    """Factor that makes a standardised mean difference unbiased under normality.

    Source: Hedges, Journal of Educational Statistics 6 (1981) 107, J(m) = Γ(m/2) / (sqrt(m/2) Γ((m-1)/2)).
    """
    if df < 2:
        return 1.0
    return float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2))


def welch_scale(arm: Array, baseline: Array) -> tuple[Array, Array, Array]:
    """Difference of means along the last axes, its standard error and degrees of freedom.

    Source: Welch, Biometrika 34 (1947) 28, with Satterthwaite's degrees of freedom.
    """
    n, m = arm.shape[-1], baseline.shape[-1]
    first, second = arm.var(axis=-1, ddof=1) / n, baseline.var(axis=-1, ddof=1) / m
    df = (first + second) ** 2 / (first**2 / (n - 1) + second**2 / (m - 1))
    return arm.mean(axis=-1) - baseline.mean(axis=-1), np.sqrt(first + second), df


def welch(arm: Array, baseline: Array, level: float) -> tuple[Estimates, Array]:
    """Welch's t interval and p value of a difference of means along the last axes."""
    difference, scale, df = welch_scale(arm, baseline)
    half = t_quantile(df, level) * scale
    return Estimates(difference, difference - half, difference + half), t_p_value(difference / scale, df)


def _sentence(estimate: float, interval: Interval, p: float, n: int) -> str:
    half = interval.width / 2
    shown = wording.signed(estimate, half)
    return (
        f"Difference {shown}, {wording.bracket(interval, sign=True)}, {wording.p_value(p)}, "
        f"{wording.plural(n, 'seed')} in both arms."
    )


@STATISTICS.register(takes="pairs", question="location", default=True, antisymmetric=True)
def paired_difference(arm: ArrayLike, baseline: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Mean difference by seed, arm minus baseline, with the paired t interval and test."""
    first, second = as_pairs(arm, baseline)
    method = "paired t"
    n, differences = first.size, first - second
    if n == 0:
        return unanswered(
            "paired_difference", 0, method, "No difference by seed: the arms have no seed in common."
        )
    estimate = float(differences.mean())
    if n == 1:
        why = f"Difference {wording.signed(estimate)} on the one seed in common; an interval needs at least 2."
        return unanswered("paired_difference", 1, method, why, estimate)
    magnitude = float(max(np.abs(first).max(), np.abs(second).max()))
    if is_constant(differences, magnitude):
        why = f"Every one of {n} seeds differs by {wording.signed(estimate)}: no spread to test against."
        return unanswered("paired_difference", n, method, why, estimate)
    _, low, high = (float(x) for x in mean_interval(differences, level))
    interval = Interval(low, high, level)
    p = float(paired_t_p_value(differences))
    return Finding(
        "paired_difference",
        estimate,
        interval,
        n,
        method,
        _sentence(estimate, interval, p, n),
        p,
        float(small_sample_correction(n - 1) * estimate / differences.std(ddof=1)),
        "Hedges' g of the differences (d_z, small-sample corrected)",
        (independence(), normality(differences, "differences", COVERAGE)),
        {"sd_of_differences": float(differences.std(ddof=1)), "correlation": correlation(first, second)},
    )


def correlation(arm: Array, baseline: Array) -> float | None:
    """Pearson correlation over seeds: what pairing gains. None if either arm is constant."""
    if arm.size < 3 or is_constant(arm) or is_constant(baseline):
        return None
    return float(np.corrcoef(arm, baseline)[0, 1])


@STATISTICS.register(takes="two_samples", question="location", antisymmetric=True)
def unpaired_difference(arm: ArrayLike, baseline: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Difference of means of two arms that share no seed, with Welch's t interval and test."""
    first, second = as_sample(arm, "arm"), as_sample(baseline, "baseline")
    method = "Welch t"
    n = first.size + second.size
    if min(first.size, second.size) == 0:
        return unanswered("unpaired_difference", n, method, "No difference: an arm has no finished replicate.")
    estimate = float(first.mean() - second.mean())
    if min(first.size, second.size) < 2:
        why = f"Difference {wording.signed(estimate)}; an interval needs at least 2 replicates in either arm."
        return unanswered("unpaired_difference", n, method, why, estimate)
    if is_constant(first) and is_constant(second):
        why = f"Both arms are constant and differ by {wording.signed(estimate)}: no spread to test against."
        return unanswered("unpaired_difference", n, method, why, estimate)
    estimates, p_value = welch(first, second, level)
    interval, p = Interval(float(estimates.low), float(estimates.high), level), float(p_value)
    pooled = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    sentence = (
        f"Difference {wording.signed(estimate, interval.width / 2)}, {wording.bracket(interval, sign=True)}, "
        f"{wording.p_value(p)}, not paired ({first.size} against {second.size} replicates)."
    )
    return Finding(
        "unpaired_difference",
        estimate,
        interval,
        n,
        method,
        sentence,
        p,
        float(small_sample_correction(n - 2) * estimate / pooled),
        "Hedges' g, standardised by the root mean variance of the arms",
        (independence(), normality(first, "arm"), normality(second, "baseline")),
    )
