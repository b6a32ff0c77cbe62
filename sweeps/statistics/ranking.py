"""Many arms ranked over blocks, with the difference in mean rank below which two of them are not told apart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from sweeps.statistics import wording
from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.improvement import Mode
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array


@lru_cache(maxsize=256)
def studentised_range(arms: int, level: float) -> float:
    """Critical value of the studentised range of `arms` with infinite degrees of freedom."""
    return float(stats.studentized_range.ppf(level, arms, np.inf))


def critical_difference(arms: int, blocks: int, level: float) -> float:
    """Nemenyi's critical difference of two mean ranks.

    Source: Demšar, Journal of Machine Learning Research 7 (2006) 1, section 3.2.2: q sqrt(k (k + 1) / (6 N))
    with q the studentised range over sqrt(2).
    """
    return studentised_range(arms, level) / 2**0.5 * (arms * (arms + 1) / (6 * blocks)) ** 0.5


def friedman_p_value(ranks: Array) -> float:
    """Friedman's test, with Conover's correction for ties; shape (blocks, arms).

    Source: Conover, Practical Nonparametric Statistics (3rd edition), section 5.8: (k - 1) Σ (R_j - n (k + 1)
    / 2)² over Σ r_ij² - n k (k + 1)² / 4, chi-squared with k - 1 degrees of freedom.
    """
    blocks, arms = ranks.shape
    spread = float((ranks**2).sum()) - blocks * arms * (arms + 1) ** 2 / 4
    if spread <= 0:
        return 1.0
    between = float(((ranks.sum(axis=0) - blocks * (arms + 1) / 2) ** 2).sum())
    return float(special.chdtrc(arms - 1, (arms - 1) * between / spread))


@STATISTICS.register(takes="blocks", question="many", default=True)
def ranking(
    values: ArrayLike, names: Sequence[str], *, level: Level = 0.95, mode: Mode = "max"
) -> tuple[Finding, ...]:
    """Mean rank of each arm over blocks (1 is best), best first, with Friedman's test and Nemenyi's differences.

    The interval is the mean rank give or take half the critical difference: arms whose intervals overlap are
    not told apart. Blocks are what the arms share: a seed of a group.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise InvalidSample(f"ranking needs shape (blocks, {len(names)} arms); got {table.shape}")
    if not np.isfinite(table).all():
        raise InvalidSample("ranking needs finite values; leave out blocks in which an arm broke, and count them")
    blocks, arms = table.shape
    method = "Friedman test, Nemenyi critical difference"
    if arms < 2 or blocks < 2:
        shown = f"{wording.plural(arms, 'arm')} over {wording.plural(blocks, 'block')}"
        why = f"No ranking from {shown}: at least 2 of each needed."
        return (unanswered("ranking", blocks, method, why),)
    ranks = stats.rankdata(-table if mode == "max" else table, axis=1)
    p, half = friedman_p_value(ranks), critical_difference(arms, blocks, level) / 2
    means = ranks.mean(axis=0)
    findings = []
    for index in np.argsort(means, kind="stable"):
        rank = float(means[index])
        alike = [
            names[j] for j in np.argsort(means, kind="stable") if j != index and abs(means[j] - rank) < 2 * half
        ]
        apart = f"not told apart from {wording.listing(alike)}" if alike else "told apart from all others"
        findings.append(
            Finding(
                "ranking",
                rank,
                Interval(rank - half, rank + half, level),
                blocks,
                method,
                f"{names[index]}: mean rank {rank:.2f} of {arms} over {blocks} blocks, {apart} "
                f"(critical difference {2 * half:.2f}, Friedman {wording.p_value(p)}).",
                p,
                assumptions=("blocks independent",),
                details={
                    "arm": names[index],
                    "critical_difference": 2 * half,
                    "alike": "; ".join(alike),
                },
            )
        )
    return tuple(findings)
