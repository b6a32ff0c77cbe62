"""What looking often does to an interval, simulated: seeds are added until it is narrow, with known truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeps.statistics.location import mean_interval
from sweeps.statistics.samples import Array
from sweeps.statistics.sequential import look_level, looks
from sweeps.statistics.simulation import Setting, draw
from sweeps.statistics.spread import paired_ratio_interval
from sweeps.statistics.spread_tests import brown_forsythe_test


class Stopped(NamedTuple):
    """Over many simulated trials that were looked at until their interval was narrow.

    Attributes:
        corrected: Share in which the interval that ended the looking covers the mean, in 0..1.
        ordinary: The same of the ordinary interval of the seeds there are then.
        naive: The same where every look uses the ordinary interval.
        seeds: Mean number of seeds in the end.
        exhausted: Share of trials that had the most seeds allowed.
    """

    corrected: float
    ordinary: float
    naive: float
    seeds: float
    exhausted: float


def stopped(
    distribution: str, first: int, most: int, width: float, simulations: int = 4000, seed: int = 0
) -> Stopped:
    """Add seeds from `first` to `most` until the interval is at most `width` standard deviations wide."""
    _, values = draw(Setting(distribution, most), simulations, seed)
    sizes = looks(first, most)
    corrected, ends = _until(values, sizes, width, look_level(0.95, len(sizes)))
    naive, _ = _until(values, sizes, width, 0.95)
    ordinary = np.array([_covers(values[ends == n, :n], 0.95).sum() for n in sizes]).sum() / simulations
    return Stopped(
        corrected=float(corrected.mean()),
        ordinary=float(ordinary),
        naive=float(naive.mean()),
        seeds=float(ends.mean()),
        exhausted=float((ends == most).mean()),
    )


class StoppedPairs(NamedTuple):
    """Over many simulated pairs of arms of equal variance, the first of which was looked at until it was narrow.

    Attributes:
        ratio: Median ratio of the variances, looked at over twin; without looks it is close to 1.
        covered: Share of intervals of the ratio that cover 1.
        rejected: Share in which Brown and Forsythe's test rejects equal variances at 5 %.
        mean_covered: Share of intervals of the mean difference by seed that cover 0.
    """

    ratio: float
    covered: float
    rejected: float
    mean_covered: float


def stopped_pairs(
    distribution: str,
    first: int,
    most: int,
    width: float,
    correlation: float = 0.5,
    simulations: int = 4000,
    seed: int = 0,
) -> StoppedPairs:
    """Add seeds to an arm, and to its twin with it, until the arm's interval is narrow, and compare the two."""
    arm, twin = draw(Setting(distribution, most, correlation), simulations, seed)
    sizes = looks(first, most)
    _, ends = _until(arm, sizes, width, look_level(0.95, len(sizes)))
    ratios, covered, rejected, means = [], 0, 0, 0
    for n in sizes:
        ours = ends == n
        one, other = arm[ours, :n], twin[ours, :n]
        ratio, low, high = paired_ratio_interval(one, other, 0.95)
        ratios.append(ratio)
        covered += int(((low <= 1) & (high >= 1)).sum())
        rejected += int((brown_forsythe_test(one, other).p <= 0.05).sum())
        means += int(_covers(one - other, 0.95).sum())
    shares = (covered / simulations, rejected / simulations, means / simulations)
    return StoppedPairs(float(np.median(np.concatenate(ratios))), *shares)


def _until(
    values: Array, sizes: list[int], width: float, level: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether the interval that ends the looking covers 0, and after how many seeds; shape (simulations,)."""
    covers, ends = np.zeros(len(values), dtype=bool), np.zeros(len(values), dtype=np.int64)
    for n in sizes:
        _, low, high = mean_interval(values[:, :n], level)
        now = (ends == 0) & ((high - low <= width) | (n == sizes[-1]))
        covers[now], ends[now] = ((low <= 0) & (high >= 0))[now], n
    return covers, ends


def _covers(values: Array, level: float) -> NDArray[np.bool_]:
    _, low, high = mean_interval(values, level)
    return np.asarray((low <= 0) & (high >= 0))
