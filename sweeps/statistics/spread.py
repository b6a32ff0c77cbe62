"""How much replicates scatter: standard deviation of one arm, ratio of variances between two."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence, normality
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, Estimates, as_pairs, as_sample, is_constant, t_quantile

# Measured at a nominal 95 %, n = 5 to 30, under lognormal(1) (`benchmarks/calibration.py`).
COVERAGE_SD = "under strong skew a 95 % interval covers 71–88 %"
COVERAGE_RATIO = "under strong skew a 95 % interval covers 86–91 %"


def log_variances_without_one(values: Array) -> Array:
    """Log variance of each sample without its i-th member; shape (*batch, n) to (*batch, n), n >= 3.

    Dropping x_i lowers the sum of squares S about the mean by n/(n-1) (x_i - mean)². Minus infinity where the
    others are all equal.
    """
    n = values.shape[-1]
    centred = values - values.mean(axis=-1, keepdims=True)
    squares = (centred**2).sum(axis=-1, keepdims=True)
    left = squares - n / (n - 1) * centred**2
    left = np.where(left <= 1e-12 * squares, 0.0, left)  # the subtraction's rounding, when the others are equal
    with np.errstate(divide="ignore"):
        return np.log(left / (n - 2))


def log_variance(values: Array) -> Array:
    """Log of the unbiased variance along the last axis."""
    with np.errstate(divide="ignore"):
        return np.log(values.var(axis=-1, ddof=1))


def jackknife_variance(without_one: Array) -> Array:
    """Jackknife variance of an estimator from its values with one unit left out, along the last axis.

    Source: Tukey's pseudo-values n t - (n-1) t_(i) have variance (n-1)² var(t_(i)), so that of the estimator
    is (n-1)/n Σ (t_(i) - mean)² (Efron and Tibshirani, An Introduction to the Bootstrap, equation 11.5).
    """
    n = without_one.shape[-1]
    with np.errstate(invalid="ignore"):  # minus infinities become NaN: no interval
        return (n - 1) ** 2 / n * without_one.var(axis=-1, ddof=1)


def paired_ratio_interval(arm: Array, baseline: Array, level: float) -> Estimates:
    """Jackknife-t interval on the log of a ratio of variances; a seed is dropped from both arms at once.

    The interval is centred on the plain estimate: over the pseudo-values' mean it covers up to two points
    more under skew (`benchmarks/calibration.py`).

    Source: Miller, Annals of Mathematical Statistics 39 (1968) 567 (jackknifing log variances).
    """
    n = arm.shape[-1]
    log_ratio = log_variance(arm) - log_variance(baseline)
    with np.errstate(invalid="ignore"):
        without_one = log_variances_without_one(arm) - log_variances_without_one(baseline)
    half = t_quantile(n - 1, level) * np.sqrt(jackknife_variance(without_one))
    return Estimates(np.exp(log_ratio), np.exp(log_ratio - half), np.exp(log_ratio + half))


def unpaired_ratio_interval(arm: Array, baseline: Array, level: float) -> Estimates:
    """The same for independent arms of n and m: jackknife variances add, n + m - 2 degrees of freedom.

    Source: Miller (1968).
    """
    log_ratio = log_variance(arm) - log_variance(baseline)
    variance = jackknife_variance(log_variances_without_one(arm)) + jackknife_variance(
        log_variances_without_one(baseline)
    )
    half = t_quantile(arm.shape[-1] + baseline.shape[-1] - 2, level) * np.sqrt(variance)
    return Estimates(np.exp(log_ratio), np.exp(log_ratio - half), np.exp(log_ratio + half))


def bonett_interval(values: Array, level: float) -> Estimates:
    """Bonett's interval of a standard deviation along the last axis, n >= 5.

    exp(log(c s²) ± z c sqrt((g - (n-3)/n) / (n-1))) for the variance, with c = n/(n-z) and the kurtosis g
    taken about a mean trimmed by 1/(2 sqrt(n-4)).

    Source: Bonett, Computational Statistics & Data Analysis 50 (2006) 775.
    """
    n = values.shape[-1]
    z = float(special.ndtri(0.5 + level / 2))
    centred = values - values.mean(axis=-1, keepdims=True)
    cut = min(int(n / (2 * np.sqrt(n - 4))), (n - 1) // 2)
    ordered = np.sort(values, axis=-1)
    middle = ordered[..., cut : n - cut].mean(axis=-1, keepdims=True)
    kurtosis = n * ((values - middle) ** 4).sum(axis=-1) / (centred**2).sum(axis=-1) ** 2
    adjustment = n / (n - z)
    half = z * adjustment * np.sqrt(np.maximum(kurtosis - (n - 3) / n, 0) / (n - 1))
    log_variances = np.log(adjustment) + log_variance(values)
    return Estimates(
        values.std(axis=-1, ddof=1), np.exp((log_variances - half) / 2), np.exp((log_variances + half) / 2)
    )


def jackknife_sd_interval(values: Array, level: float) -> Estimates:
    """Jackknife-t interval of a standard deviation on the log scale, about the mean pseudo-value; n >= 3."""
    n = values.shape[-1]
    without_one = log_variances_without_one(values)
    centre = n * log_variance(values) - (n - 1) * without_one.mean(axis=-1)
    half = t_quantile(n - 1, level) * np.sqrt(jackknife_variance(without_one))
    return Estimates(values.std(axis=-1, ddof=1), np.exp((centre - half) / 2), np.exp((centre + half) / 2))


@STATISTICS.register(takes="sample", question="spread", default=True)
def sd(values: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Standard deviation over replicates with Bonett's interval."""
    sample = as_sample(values)
    method, n = "Bonett interval of the standard deviation", sample.size
    if n < 2:
        return unanswered(
            "sd", n, method, f"No spread: {wording.plural(n, 'finished replicate')}, at least 2 needed."
        )
    estimate = float(sample.std(ddof=1))
    if is_constant(sample):
        why = f"All {n} replicates gave {wording.number(float(sample[0]))}: no spread, no interval."
        return unanswered("sd", n, method, why, 0.0)
    if n < 5:
        why = f"Standard deviation {wording.ratio(estimate)}, n = {n}; an interval needs at least 5."
        return unanswered("sd", n, method, why, estimate)
    _, low, high = (float(x) for x in bonett_interval(sample, level))
    interval = Interval(low, high, level)
    shown = f"{wording.percent(level)} interval [{wording.ratio(low)}, {wording.ratio(high)}]"
    sentence = f"Standard deviation {wording.ratio(estimate)}, {shown}, n = {n}."
    assumptions = (independence(), normality(sample, otherwise=COVERAGE_SD))
    return Finding("sd", estimate, interval, n, method, sentence, assumptions=assumptions)


def _ratio_finding(
    statistic: str, method: str, arm: Array, baseline: Array, ends: Estimates | None, level: float
) -> Finding:
    n = min(arm.size, baseline.size)
    if is_constant(baseline):
        why = f"No ratio of variances: all {baseline.size} replicates of the baseline are equal."
        return unanswered(statistic, n, method, why)
    ratio = float(arm.var(ddof=1) / baseline.var(ddof=1))
    if is_constant(arm):
        why = f"All {arm.size} replicates of the arm are equal: variance ratio 0, no interval."
        return unanswered(statistic, n, method, why, 0.0)
    if ends is None:
        why = f"Variance ratio {wording.ratio(ratio)} from {n} replicates; an interval needs at least 4."
        return unanswered(statistic, n, method, why, ratio)
    if not np.isfinite([ends.low, ends.high]).all() or ends.low <= 0:
        why = (
            f"Variance ratio {wording.ratio(ratio)}; without one of its replicates an arm has no spread, so there "
            "is no interval."
        )
        return unanswered(statistic, n, method, why, ratio)
    interval = Interval(float(ends.low), float(ends.high), level)
    shown = f"{wording.percent(level)} interval [{wording.ratio(interval.low)}, {wording.ratio(interval.high)}]"
    sentence = f"Variance ratio {wording.ratio(ratio)}, {shown}, n = {n}."
    assumptions = (independence(), normality(arm, "arm", COVERAGE_RATIO), normality(baseline, "baseline"))
    return Finding(
        statistic,
        ratio,
        interval,
        n,
        method,
        sentence,
        effect=float(np.log(ratio) / 2),
        effect_name="log ratio of standard deviations",
        assumptions=assumptions,
    )


@STATISTICS.register(takes="pairs", question="spread", default=True, reciprocal=True)
def variance_ratio(arm: ArrayLike, baseline: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Ratio of variances arm/baseline by seed, with the paired jackknife-t interval on its log."""
    first, second = as_pairs(arm, baseline)
    method = "jackknife t on the log variance ratio, seeds dropped from both arms"
    if first.size < 2:
        why = f"No ratio of variances: {wording.plural(first.size, 'seed')} in both arms, at least 2 needed."
        return unanswered("variance_ratio", first.size, method, why)
    constant = is_constant(first) or is_constant(second)
    ends = None if first.size < 4 or constant else paired_ratio_interval(first, second, level)
    return _ratio_finding("variance_ratio", method, first, second, ends, level)


@STATISTICS.register(takes="two_samples", question="spread", reciprocal=True)
def unpaired_variance_ratio(arm: ArrayLike, baseline: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Ratio of variances of two arms that share no seed, with the jackknife-t interval on its log."""
    first, second = as_sample(arm, "arm"), as_sample(baseline, "baseline")
    method, n = "jackknife t on the log variance ratio, arms independent", min(first.size, second.size)
    if n < 2:
        why = f"No ratio of variances: an arm has {wording.plural(n, 'finished replicate')}, at least 2 needed."
        return unanswered("unpaired_variance_ratio", n, method, why)
    constant = is_constant(first) or is_constant(second)
    ends = None if n < 4 or constant else unpaired_ratio_interval(first, second, level)
    return _ratio_finding("unpaired_variance_ratio", method, first, second, ends, level)
