"""Does a number of the replicate go with how well it does: spikes, fit distance, sharpness against accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence
from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, Estimates, as_sample, is_constant, t_p_value, t_quantile

# Fewest units of a group: the standard error divides by n - 3.
FEWEST = 5


def spearman(first: Array, second: Array) -> Array:
    """Rank correlation along the last axis, ties at their mean rank."""
    ranks = [stats.rankdata(x, axis=-1) for x in (first, second)]
    one, two = (r - r.mean(axis=-1, keepdims=True) for r in ranks)
    scale = np.sqrt((one**2).sum(axis=-1) * (two**2).sum(axis=-1))
    return np.asarray(np.clip((one * two).sum(axis=-1) / scale, -1, 1))


def spearman_p_value(correlation: Array, n: int) -> Array:
    """Two-sided p value of no association, r sqrt((n - 2) / (1 - r²)) against Student's t."""
    with np.errstate(divide="ignore"):
        t = correlation * np.sqrt((n - 2) / (1 - correlation**2))
    return t_p_value(t, n - 2)


def spearman_interval(correlation: Array, n: int, level: float) -> Estimates:
    """Interval on Fisher's z with the standard error sqrt((1 + r²/2) / (n - 3)).

    A perfect correlation has no finite z: it is taken as one exchange of neighbours short of perfect, and the
    end beyond is 1.

    Source: Bonett and Wright, Psychometrika 65 (2000) 23.
    """
    nearest = 1 - 12 / (n * (n**2 - 1))
    z = np.arctanh(np.clip(correlation, -nearest, nearest))
    half = special.ndtri(0.5 + level / 2) * np.sqrt((1 + correlation**2 / 2) / (n - 3))
    low, high = np.tanh(z - half), np.tanh(z + half)
    return Estimates(correlation, np.where(correlation == -1, -1, low), np.where(correlation == 1, 1, high))


@STATISTICS.register(takes="xy", question="association", default=True)
def association(
    measure: ArrayLike,
    metric: ArrayLike,
    groups: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    *,
    level: Level = 0.95,
) -> Finding:
    """Spearman's rank correlation of a measure with a metric over replicates, within groups if given.

    With groups (trials), ranks are taken within each, so that differences between configurations do not count
    as association; the groups' z values are averaged with weights n - 3. With clusters (seeds) that several groups
    share, replicates of one seed are not independent: the error is that of a jackknife over clusters.
    """
    first, second = as_sample(measure, "measure"), as_sample(metric, "metric")
    if first.size != second.size:
        raise InvalidSample(f"measure and metric need equal lengths; got {first.size} and {second.size}")
    if groups is not None:
        return _within(
            first, second, np.asarray(groups), None if clusters is None else np.asarray(clusters), level
        )
    n, method = first.size, "Spearman, Bonett–Wright interval"
    if n < FEWEST:
        why = f"Association not looked for: {wording.plural(n, 'replicate')}, at least {FEWEST} needed."
        return unanswered("association", n, method, why)
    if is_constant(first) or is_constant(second):
        which = "measure" if is_constant(first) else "metric"
        return unanswered(
            "association", n, method, f"No association: the {which} is the same in all {n} replicates."
        )
    correlation = spearman(first, second)
    ends = spearman_interval(correlation, n, level)
    interval = Interval(float(ends.low), float(ends.high), level)
    p = float(spearman_p_value(correlation, n))
    return _finding(float(correlation), interval, n, method, p, f"n = {n}", {})


def _fisher(one: Array, two: Array) -> Array:
    """Fisher's z of the rank correlation along the last axis; 0 where either is constant."""
    n = one.shape[-1]
    nearest = 1 - 12 / (n * (n**2 - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arctanh(np.clip(np.nan_to_num(spearman(one, two)), -nearest, nearest))


class Stack(NamedTuple):
    """Groups that have the same clusters.

    Attributes:
        clusters: Sorted, shape (n,).
        one, two: Measure and metric, both shape (groups, n).
    """

    clusters: NDArray[np.str_]
    one: Array
    two: Array

    def without(self, cluster: str) -> tuple[Array, Array]:
        """Both without a cluster."""
        kept = self.clusters != cluster
        return self.one[:, kept], self.two[:, kept]


def _stacks(first: Array, second: Array, groups: NDArray[np.str_], clusters: NDArray[np.str_]) -> list[Stack]:
    """Groups large enough in which both vary, stacked by the clusters they have."""
    found: dict[tuple[str, ...], list[tuple[Array, Array]]] = {}
    order = np.lexsort((clusters, groups))
    ends = np.flatnonzero(np.diff(np.unique(groups[order], return_inverse=True)[1])) + 1
    for places in np.split(order, ends):
        one, two = first[places], second[places]
        if one.size >= FEWEST and not is_constant(one) and not is_constant(two):
            found.setdefault(tuple(clusters[places].tolist()), []).append((one, two))
    return [
        Stack(np.array(key), np.stack([one for one, _ in pairs]), np.stack([two for _, two in pairs]))
        for key, pairs in found.items()
    ]


def _averaged_z(pairs: Sequence[tuple[Array, Array]], weights: Sequence[int]) -> float:
    """Mean over all groups, each with its stack's weight."""
    total = sum(weight * float(_fisher(one, two).sum()) for (one, two), weight in zip(pairs, weights, strict=True))
    return total / sum(weight * len(one) for (one, _), weight in zip(pairs, weights, strict=True))


def _jackknifed(stacks: Sequence[Stack], weights: Sequence[int]) -> tuple[float, int]:
    """Standard error of the averaged z, leaving out one cluster at a time, and its degrees of freedom.

    Source: Efron and Stein, Annals of Statistics 9 (1981) 586; clusters left out whole as in Cameron and Miller,
    Journal of Human Resources 50 (2015) 317.
    """
    names = sorted({str(name) for stack in stacks for name in stack.clusters})
    left = np.array([_averaged_z([stack.without(name) for stack in stacks], weights) for name in names])
    k = len(names)
    return float(np.sqrt((k - 1) / k * ((left - left.mean()) ** 2).sum())), k - 1


def _within(first: Array, second: Array, groups: np.ndarray, clusters: np.ndarray | None, level: float) -> Finding:
    """Average of the groups' correlations; groups too small or without variation are counted."""
    method = "Spearman within groups, Fisher z averaged with weights n - 3"
    labels = groups.astype(str)
    own = np.arange(first.size).astype(str) if clusters is None else clusters.astype(str)
    stacks = _stacks(first, second, labels, own) if first.size else []
    usable, used = sum(len(stack.one) for stack in stacks), sum(stack.one.size for stack in stacks)
    left_out = len(np.unique(labels)) - usable
    if not usable:
        why = f"No association: no group has {FEWEST} replicates in which measure and metric vary."
        return unanswered("association", first.size, method, why, groups_left_out=left_out)
    weights = [stack.clusters.size - 3 for stack in stacks]
    z = _averaged_z([(stack.one, stack.two) for stack in stacks], weights)
    correlation = float(np.tanh(z))
    total = sum(weight * len(stack.one) for stack, weight in zip(stacks, weights, strict=True))
    where = f"{used} replicates in {wording.plural(usable, 'group')}"
    distinct = len({str(name) for stack in stacks for name in stack.clusters})
    if distinct < used:
        error, degrees = _jackknifed(stacks, weights)
        half, t = float(t_quantile(degrees, level)) * error, z / error if error else np.inf
        p = float(t_p_value(np.asarray(t), degrees))
        method += ", jackknife over seeds"
        where += f" of {wording.plural(distinct, 'seed')}"
    else:
        half = float(special.ndtri(0.5 + level / 2)) * float(np.sqrt((1 + correlation**2 / 2) / total))
        p = float(2 * special.ndtr(-abs(z) / np.sqrt(1 / total)))
    interval = Interval(float(np.tanh(z - half)), float(np.tanh(z + half)), level)
    details: dict[str, float | int | str | None] = {"groups": usable, "groups_left_out": left_out}
    return _finding(correlation, interval, used, method, p, where, details)


def _finding(
    correlation: float,
    interval: Interval,
    n: int,
    method: str,
    p: float,
    where: str,
    details: dict[str, float | int | str | None],
) -> Finding:
    sentence = (
        f"Rank correlation {wording.signed(correlation, 0.01)}, {wording.bracket(interval, 0.01, sign=True)}, "
        f"{wording.p_value(p)}, {where}."
    )
    assumptions = (independence(), "monotone association; correlation is not cause")
    return Finding(
        "association",
        correlation,
        interval,
        n,
        method,
        sentence,
        p,
        correlation,
        "Spearman's rho",
        assumptions,
        details,
    )
