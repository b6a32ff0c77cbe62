"""A few broken initialisations beside many good ones: found by a gap that one population hardly shows."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval as Range
from numpy.typing import ArrayLike, NDArray

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence
from sweeps.statistics.finding import Finding, unanswered
from sweeps.statistics.registry import STATISTICS
from sweeps.statistics.samples import Array, as_sample, is_constant

# Fewest replicates whose scatter can serve as the yardstick of the healthy ones.
HEALTHY = 3
SIMULATIONS = 10_000
Alarm = Annotated[float, Range(gt=0, lt=0.5)]
Resolution = Annotated[float, Range(ge=0)]


def gaps(values: Array, resolution: float = 0.0) -> Array:
    """Gap below the healthy group over that group's standard deviation, for each split in two.

    Shape (*batch, n) to (*batch, n - 3); entry j - 1 takes the j lowest values as collapsed and the others as
    healthy. The deviation is at least `resolution`, the step in which the metric is measured: an accuracy over a
    few hundred examples ties, and ties would make any gap infinite.
    """
    n = values.shape[-1]
    ordered = np.sort(values, axis=-1)
    widths = np.diff(ordered, axis=-1)[..., : n - HEALTHY]
    spreads = np.maximum(_spreads_above(ordered)[..., 1 : n - HEALTHY + 1], resolution)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(widths > 0, widths / spreads, 0.0)


def _spreads_above(ordered: Array) -> Array:
    """Standard deviation of the values from each place on, last axis ascending; meaningless at the last place.

    Sums are of distances from the greatest value, to which the healthy ones are close: no digits are lost.
    """
    distances = ordered - ordered[..., -1:]
    sums = np.cumsum(distances[..., ::-1], axis=-1)[..., ::-1]
    squares = np.cumsum(distances[..., ::-1] ** 2, axis=-1)[..., ::-1]
    counts = np.arange(ordered.shape[-1], 0, -1)
    return np.sqrt(np.maximum(squares - sums**2 / counts, 0) / np.maximum(counts - 1, 1))


@lru_cache(maxsize=256)
def _normal_gaps(n: int) -> tuple[Array, Array]:
    """Gaps of simulated normal samples, sorted for each split, and each sample's smallest p value, sorted."""
    simulated = gaps(np.random.default_rng(n).standard_normal((SIMULATIONS, n)))
    ordered = np.sort(simulated, axis=0)
    ranks = np.argsort(np.argsort(-simulated, axis=0), axis=0) + 1
    return ordered, np.sort(ranks.min(axis=1) / (SIMULATIONS + 1))


def gap_p_values(values: Array, resolution: float = 0.0) -> tuple[Array, NDArray[np.int64]]:
    """p value that a normal sample shows such a gap, and the number of values below it; last axis, n >= 4.

    Each split's gap is ranked among those of simulated normal samples (the statistic is free of location and
    scale), the smallest of these p values is taken, and ranked among the smallest ones of the same
    simulations: a Monte Carlo min-p test, exact under normality.

    Source: Besag and Clifford, Biometrika 76 (1989) 633 (Monte Carlo p values); Westfall and Young,
    Resampling-Based Multiple Testing (1993), chapter 2 (min-p).
    """
    ordered, smallest = _normal_gaps(values.shape[-1])
    observed = gaps(values, resolution)
    splits = observed.shape[-1]
    above = np.stack(
        [SIMULATIONS - np.searchsorted(ordered[:, j], observed[..., j], side="left") for j in range(splits)],
        axis=-1,
    )
    p_values = (above + 1) / (SIMULATIONS + 1)
    collapsed = p_values.argmin(axis=-1) + 1
    p = (np.searchsorted(smallest, p_values.min(axis=-1), side="right") + 1) / (SIMULATIONS + 1)
    return np.minimum(p, 1.0), collapsed


def collapsed_replicates(
    values: ArrayLike, *, worse: Literal["low", "high"] = "low", alarm: float = 0.01, resolution: float = 0.0
) -> NDArray[np.bool_]:
    """Which replicates lie beyond the gap, shape (n,); none where no gap is beyond chance at `alarm`."""
    sample = as_sample(values)
    none = np.zeros(sample.size, dtype=bool)
    if sample.size <= HEALTHY or is_constant(sample):
        return none
    oriented = sample if worse == "low" else -sample
    p, count = gap_p_values(oriented, resolution)
    if float(p) > alarm:
        return none
    none[np.argsort(oriented)[: int(count)]] = True
    return none


@STATISTICS.register(takes="sample", question="failures", default=True)
def collapse(
    values: ArrayLike,
    *,
    worse: Literal["low", "high"] = "low",
    alarm: Alarm = 0.01,
    resolution: Resolution = 0.0,
) -> Finding:
    """Collapsed replicates: those beyond a gap that healthy ones hardly leave; spread with and without.

    `resolution` is the step in which the metric is measured, so that ties are not taken for a spread of zero.
    """
    sample = as_sample(values)
    method, n = "largest gap over the healthy group's standard deviation, Monte Carlo min-p", sample.size
    if n <= HEALTHY:
        why = f"Collapse not looked for: {wording.plural(n, 'replicate')}, at least {HEALTHY + 1} needed."
        return unanswered("collapse", n, method, why)
    if is_constant(sample):
        return unanswered("collapse", n, method, f"No collapse: all {n} replicates are equal.", 0.0)
    p = float(gap_p_values(sample if worse == "low" else -sample, resolution)[0])
    broken = collapsed_replicates(sample, worse=worse, alarm=alarm, resolution=resolution)
    count, spread, healthy = int(broken.sum()), float(sample.std(ddof=1)), float(sample[~broken].std(ddof=1))
    details: dict[str, float | int | str | None] = {
        "sd": spread,
        "sd_healthy": healthy,
    }
    if count == 0:
        sentence = f"No collapsed replicate among {n} ({wording.p_value(p)} for the largest gap)."
    else:
        below = "below" if worse == "low" else "above"
        sentence = (
            f"{count} of {n} replicates collapsed ({below} a gap, {wording.p_value(p)}): standard deviation "
            f"{wording.number(spread)} with them, {wording.number(healthy)} without."
        )
    assumptions = (independence(), "healthy replicates roughly normal; heavy tails raise false alarms")
    return Finding("collapse", float(count), None, n, method, sentence, p, None, None, assumptions, details)
