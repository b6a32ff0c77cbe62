"""What trials are judged by: one number from the values of a trial's replicates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeps.metrics import LEVEL

if TYPE_CHECKING:
    from sweeps.spec import Objective


def statistic_of(values: Sequence[float], statistic: str) -> float:
    """A statistic over replicates: `mean`, `median`, `iqm`, `sd`, `ci_low` or `ci_high` (Student t, 95 %).

    Returns:
        NaN when a value is not finite, or there are too few: none, or a single one where a spread is needed.
    """
    if not values or not all(map(math.isfinite, values)):
        return math.nan
    if statistic == "mean":
        return statistics.fmean(values)
    if statistic == "median":
        return statistics.median(values)
    if statistic == "iqm":
        return interquartile_mean(values)
    if len(values) < 2:
        return math.nan
    sd = statistics.stdev(values)
    if statistic == "sd":
        return sd
    from scipy import special

    half = float(special.stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(len(values))
    return statistics.fmean(values) + {"ci_low": -half, "ci_high": half}[statistic]


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of the middle half: a quarter of the values, rounded down, is left out at either end; NaN of nothing.

    Source: Agarwal et al., arXiv:2108.13264, section 4.3; the estimate of `sweeps.statistics.location.iqm`.
    """
    cut = len(values) // 4
    middle = sorted(values)[cut : len(values) - cut]
    return math.fsum(middle) / len(middle) if middle else math.nan


def score_of(values: Sequence[float], objective: Objective) -> float:
    """An objective's statistic, turned so that larger is better; -inf, the worst, where it is not known."""
    value = statistic_of(values, objective.statistic)
    return -math.inf if math.isnan(value) else sign_of(objective) * value


def sign_of(objective: Objective) -> int:
    """1, or -1 where less is better."""
    return 1 if objective.mode == "max" else -1
