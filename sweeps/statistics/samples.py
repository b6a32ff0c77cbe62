"""Samples as arrays: the checks every statistic starts with.

Kernels work along the last axis of arrays of any shape, so that thousands of trials (or simulations) are one
call; the registered statistics wrap them for one sample and put the answer into words.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sweeps.statistics.errors import InvalidSample

Array: TypeAlias = NDArray[np.float64]

# Spread below this share of the magnitude is rounding of float64 arithmetic (a few hundred ulp), not
# variation.
ROUNDING = 1e-13


class Estimates(NamedTuple):
    """Estimates with interval ends, equal shapes (*batch)."""

    estimate: Array
    low: Array
    high: Array


def as_sample(values: ArrayLike, name: str = "values") -> Array:
    """One-dimensional finite float64 array.

    Raises:
        InvalidSample: Another shape, or entries that are not finite (a diverged replicate is a count, see
            `failures`).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1:
        raise InvalidSample(f"{name} must be one-dimensional; got shape {sample.shape}")
    broken = int(np.count_nonzero(~np.isfinite(sample)))
    if broken:
        raise InvalidSample(
            f"{name} holds {broken} of {sample.size} values that are not finite; count them as failures"
        )
    return sample


def as_pairs(arm: ArrayLike, baseline: ArrayLike) -> tuple[Array, Array]:
    """Two samples of equal length, entry i of both from the same seed.

    Raises:
        InvalidSample: Unequal lengths, or either is no sample.
    """
    first, second = as_sample(arm, "arm"), as_sample(baseline, "baseline")
    if first.size != second.size:
        raise InvalidSample(
            f"pairs need equal lengths; got {first.size} in the arm and {second.size} in the baseline"
        )
    return first, second


def is_constant(values: Array, magnitude: float | None = None) -> bool:
    """Whether a sample has no spread beyond rounding; `magnitude` is that of what was subtracted, if any."""
    if values.size == 0:
        return True
    scale = float(np.abs(values).max()) if magnitude is None else magnitude
    return float(np.ptp(values)) <= ROUNDING * scale


def t_quantile(df: float | Array, level: float) -> Array:
    """Two-sided critical value of Student's t."""
    return np.asarray(special.stdtrit(df, 0.5 + level / 2), dtype=np.float64)


def t_p_value(t: Array, df: float | Array) -> Array:
    """Two-sided p value of Student's t."""
    return np.asarray(2 * special.stdtr(df, -np.abs(t)), dtype=np.float64)
