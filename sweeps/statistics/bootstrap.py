"""BCa bootstrap intervals: offered, never the default.

At a nominal 95 % and n = 10 they cover 87–89 % of means and 69–82 % of standard deviations where replicates are
normal or mildly skewed (`benchmarks/calibration.py`):
every such finding carries that warning.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import ArrayLike

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level, Resamples
from sweeps.statistics.resampling import Statistic, bca_interval
from sweeps.statistics.samples import Array, as_pairs, as_sample, is_constant

WARNING = "many replicates: below 30 a BCa interval covers several points less than it says"
# Below this a bootstrap distribution has too few distinct values for tail quantiles.
FEWEST = 4


def _mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=-1))


def _median(values: Array) -> Array:
    return np.asarray(np.median(values, axis=-1))


def _iqm(values: Array) -> Array:
    cut = values.shape[-1] // 4
    return np.asarray(np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1))


def _sd(values: Array) -> Array:
    return np.asarray(values.std(axis=-1, ddof=1))


def _difference(arm: Array, baseline: Array) -> Array:
    return np.asarray((arm - baseline).mean(axis=-1))


def _variance_ratio(arm: Array, baseline: Array) -> Array:
    return np.asarray(arm.var(axis=-1, ddof=1) / baseline.var(axis=-1, ddof=1))


ONE: dict[str, Statistic] = {"mean": _mean, "median": _median, "iqm": _iqm, "sd": _sd}
TWO: dict[str, Statistic] = {"difference": _difference, "variance_ratio": _variance_ratio}


def _finding(
    statistic: str,
    of: str,
    function: Statistic,
    samples: tuple[Array, ...],
    level: float,
    resamples: int,
    seed: int,
) -> Finding:
    n, method = samples[0].size, f"BCa bootstrap of the {of.replace('_', ' ')}, {resamples} resamples"
    if n < FEWEST:
        why = f"No bootstrap interval from {wording.plural(n, 'replicate')}: at least {FEWEST} needed."
        return unanswered(statistic, n, method, why)
    if any(is_constant(sample) for sample in samples):
        return unanswered(statistic, n, method, "No bootstrap interval: all replicates of an arm are equal.")
    estimate, low, high = (float(x) for x in bca_interval(function, samples, level, resamples, seed))
    if not (np.isfinite([low, high]).all() and low < high):
        why = f"No bootstrap interval around {wording.number(estimate)}: too few distinct values."
        return unanswered(statistic, n, method, why, estimate)
    interval = Interval(low, high, level)
    name = (
        of.replace("_", " ").capitalize().replace("Iqm", "Interquartile mean").replace("Sd", "Standard deviation")
    )
    sentence = (
        f"{name} {wording.number(estimate, interval.width / 2)}, {wording.bracket(interval)} (BCa), n = {n}."
    )
    return Finding(statistic, estimate, interval, n, method, sentence, assumptions=(independence(), WARNING))


@STATISTICS.register(takes="sample", question="location", holds_level=False)
def bca(
    values: ArrayLike,
    *,
    of: Literal["mean", "median", "iqm", "sd"] = "mean",
    level: Level = 0.95,
    resamples: Resamples = 9999,
    seed: Annotated[int, Ge(0)] = 0,
) -> Finding:
    """BCa bootstrap interval of a mean, median, interquartile mean or standard deviation."""
    return _finding("bca", of, ONE[of], (as_sample(values),), level, resamples, seed)


@STATISTICS.register(takes="pairs", question="location", holds_level=False)
def bca_pairs(
    arm: ArrayLike,
    baseline: ArrayLike,
    *,
    of: Literal["difference", "variance_ratio"] = "difference",
    level: Level = 0.95,
    resamples: Resamples = 9999,
    seed: Annotated[int, Ge(0)] = 0,
) -> Finding:
    """BCa bootstrap interval, seeds resampled together, of the mean difference or the variance ratio."""
    first, second = as_pairs(arm, baseline)
    magnitude = float(max(np.abs(first).max(), np.abs(second).max())) if first.size else 0.0
    if of == "difference" and first.size >= FEWEST and is_constant(first - second, magnitude):
        shown = wording.signed(float((first - second).mean()))
        why = f"No bootstrap interval: every seed differs by {shown}."
        return unanswered("bca_pairs", first.size, "BCa bootstrap", why, float((first - second).mean()))
    return _finding("bca_pairs", of, TWO[of], (first, second), level, resamples, seed)
