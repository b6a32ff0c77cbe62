"""Many comparisons at once: p values corrected over the family that was looked at."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sweeps.statistics import wording
from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.finding import Finding, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, as_sample

Correction = Literal["holm", "benjamini_hochberg", "none"]
CORRECTION_NAMES = {"holm": "Holm", "benjamini_hochberg": "Benjamini–Hochberg", "none": "uncorrected"}


def holm_adjusted(p_values: Array) -> Array:
    """Holm's step-down p values: the family-wise error rate is held under any dependence.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65: max over j <= i of (m - j + 1) p_(j), at
    most 1.
    """
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(p_values.size, 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def benjamini_hochberg_adjusted(p_values: Array) -> Array:
    """Benjamini and Hochberg's step-up p values: the false discovery rate is held under positive dependence.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995) 289.
    """
    order = np.argsort(p_values)[::-1]
    stepped = np.minimum.accumulate(p_values[order] * p_values.size / np.arange(p_values.size, 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def adjusted(p_values: ArrayLike, correction: Correction) -> Array:
    """p values of one family, corrected; shape (tests,), each in 0..1."""
    sample = as_sample(p_values, "p values")
    if sample.size and not (sample.min() >= 0 and sample.max() <= 1):
        raise InvalidSample(f"p values must lie in 0..1; got {sample.min()} to {sample.max()}")
    if correction == "holm":
        return holm_adjusted(sample)
    return benjamini_hochberg_adjusted(sample) if correction == "benjamini_hochberg" else sample.copy()


def _finding(statistic: str, p_values: ArrayLike, correction: Correction, level: float) -> Finding:
    corrected = adjusted(p_values, correction)
    name, n = CORRECTION_NAMES[correction], corrected.size
    if n == 0:
        return unanswered(statistic, 0, name, "No family: nothing was tested.")
    found = int(np.count_nonzero(corrected <= 1 - level))
    smallest = float(corrected.min())
    sentence = (
        f"{found} of {wording.plural(n, 'comparison')} stand at {100 * (1 - level):.3g} % after {name}; "
        f"the smallest corrected {wording.p_value(smallest)}."
    )
    details = {f"corrected_{index}": float(p) for index, p in enumerate(corrected)}
    return Finding(statistic, float(found), None, n, name, sentence, smallest, details=details)


@STATISTICS.register(takes="p_values", question="many", default=True)
def holm(p_values: ArrayLike, *, level: Level = 0.95) -> Finding:
    """How many of a family of tests stand after Holm's correction (family-wise error rate)."""
    return _finding("holm", p_values, "holm", level)


@STATISTICS.register(takes="p_values", question="many")
def benjamini_hochberg(p_values: ArrayLike, *, level: Level = 0.95) -> Finding:
    """How many of a family of tests stand after Benjamini–Hochberg's correction (false discovery rate)."""
    return _finding("benjamini_hochberg", p_values, "benjamini_hochberg", level)
