"""Where one sample of replicates lies: mean (the default), median, interquartile mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence, normality
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, Estimates, as_sample, is_constant, t_quantile

# Measured at a nominal 95 %, n = 5 to 30, under lognormal(1) (`benchmarks/calibration.py`).
COVERAGE = "under strong skew a 95 % interval covers 81–89 %"


def mean_interval(values: Array, level: float) -> Estimates:
    """Student's t interval of the mean along the last axis; shape (*batch, n) to (*batch), n >= 2."""
    n = values.shape[-1]
    centre = values.mean(axis=-1)
    half = t_quantile(n - 1, level) * values.std(axis=-1, ddof=1) / np.sqrt(n)
    return Estimates(centre, centre - half, centre + half)


def median_ranks(n: int, level: float) -> int:
    """Largest k for which [x_(k), x_(n+1-k)] covers the median with at least `level`, or 0.

    Source: the binomial argument, P(x_(k) <= median <= x_(n+1-k)) = 1 - 2 P(Bin(n, 1/2) <= k - 1), for any
    continuous distribution (David and Nagaraja, Order Statistics, section 7.1).
    """
    tails = special.bdtr(np.arange(n // 2 + 1), n, 0.5)
    return int(np.count_nonzero(2 * tails <= 1 - level))


def trimmed_interval(values: Array, level: float, share: float = 0.25) -> Estimates:
    """Trimmed mean with Tukey and McLaughlin's interval, along the last axis.

    With g = floor(share n) cut from either end, h = n - 2g and s_w the winsorised standard deviation, the
    half-width is t(h - 1) s_w sqrt((n - 1) / (h (h - 1))).

    Source: Tukey and McLaughlin, Sankhyā A 25 (1963) 331; Yuen, Biometrika 61 (1974) 165.
    """
    n = values.shape[-1]
    cut = int(share * n)
    kept = n - 2 * cut
    ordered = np.sort(values, axis=-1)
    centre = ordered[..., cut : n - cut].mean(axis=-1)
    winsorised = np.clip(ordered, ordered[..., cut, None], ordered[..., n - cut - 1, None])
    scale = winsorised.std(axis=-1, ddof=1) * np.sqrt((n - 1) / (kept * (kept - 1)))
    half = t_quantile(kept - 1, level) * scale
    return Estimates(centre, centre - half, centre + half)


def _sentence(kind: str, estimate: float, interval: Interval, n: int) -> str:
    half = interval.width / 2
    return f"{kind} {wording.number(estimate, half)}, {wording.bracket(interval)}, n = {n}."


def _nothing(statistic: str, method: str, kind: str, sample: Array, needed: int) -> Finding | None:
    """The finding of a sample that no interval can be built from, or None."""
    n = sample.size
    if n == 0:
        return unanswered(statistic, 0, method, f"No {kind.lower()}: there is no finished replicate.")
    if is_constant(sample) and n > 1:
        value = float(sample[0])
        why = f"All {n} replicates gave {wording.number(value)}: no spread to build an interval from."
        return unanswered(statistic, n, method, why, value)
    if n < needed:
        value = float(np.median(sample) if kind == "Median" else sample.mean())
        shown = f"{kind} {wording.number(value)} of {wording.plural(n, 'replicate')}"
        return unanswered(statistic, n, method, f"{shown}; an interval needs at least {needed}.", value)
    return None


@STATISTICS.register(takes="sample", question="location", default=True)
def mean(values: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Mean over replicates with Student's t interval."""
    sample = as_sample(values)
    method = "Student t interval of the mean"
    nothing = _nothing("mean", method, "Mean", sample, 2)
    if nothing:
        return nothing
    estimate, low, high = (float(x) for x in mean_interval(sample, level))
    interval = Interval(low, high, level)
    return Finding(
        "mean",
        estimate,
        interval,
        sample.size,
        method,
        _sentence("Mean", estimate, interval, sample.size),
        assumptions=(independence(), normality(sample, otherwise=COVERAGE)),
        details={"sd": float(sample.std(ddof=1))},
    )


@STATISTICS.register(takes="sample", question="location")
def median(values: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Median over replicates with the exact interval of order statistics."""
    sample = as_sample(values)
    method = "order-statistic interval of the median (exact, conservative)"
    nothing = _nothing("median", method, "Median", sample, 2)
    if nothing:
        return nothing
    n, estimate = sample.size, float(np.median(sample))
    rank = median_ranks(n, level)
    if rank == 0:
        coverage = 1 - 2 * 0.5**n
        why = (
            f"Median {wording.number(estimate)}, n = {n}; even the range of {n} replicates covers "
            f"the median only {100 * coverage:.3g} % of the time: no {wording.percent(level)} interval."
        )
        return unanswered("median", n, method, why, estimate, range_coverage=coverage)
    ordered = np.sort(sample)
    interval = Interval(float(ordered[rank - 1]), float(ordered[n - rank]), level)
    coverage = 1 - 2 * float(special.bdtr(rank - 1, n, 0.5))
    return Finding(
        "median",
        estimate,
        interval,
        n,
        method,
        _sentence("Median", estimate, interval, n),
        assumptions=(independence(), "continuous distribution of any shape"),
        details={"exact_coverage": coverage},
    )


@STATISTICS.register(takes="sample", question="location")
def iqm(values: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Interquartile mean (a quarter cut from either end) with Tukey and McLaughlin's interval."""
    sample = as_sample(values)
    method = "Tukey–McLaughlin interval of the 25 % trimmed mean"
    nothing = _nothing("iqm", method, "Interquartile mean", sample, 4)
    if nothing:
        return nothing
    estimate, low, high = (float(x) for x in trimmed_interval(sample, level))
    if high <= low:
        why = f"The middle half of the replicates is {wording.number(estimate)} throughout: no interval."
        return unanswered("iqm", sample.size, method, why, estimate)
    interval = Interval(low, high, level)
    return Finding(
        "iqm",
        estimate,
        interval,
        sample.size,
        method,
        _sentence("Interquartile mean", estimate, interval, sample.size),
        assumptions=(independence(), "roughly symmetric middle half"),
    )
