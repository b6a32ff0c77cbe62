"""Does a number of the replicate go with how well it does: spikes, fit distance, sharpness against accuracy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence
from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, Estimates, as_sample, is_constant, t_p_value

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
    measure: ArrayLike, metric: ArrayLike, groups: ArrayLike | None = None, *, level: Level = 0.95
) -> Finding:
    """Spearman's rank correlation of a measure with a metric over replicates, within groups if given.

    With groups (trials), ranks are taken within each, so that differences between configurations do not count
    as association; the groups' z values are averaged with weights n - 3.
    """
    first, second = as_sample(measure, "measure"), as_sample(metric, "metric")
    if first.size != second.size:
        raise InvalidSample(f"measure and metric need equal lengths; got {first.size} and {second.size}")
    if groups is not None:
        return _within(first, second, np.asarray(groups), level)
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


def _within(first: Array, second: Array, groups: np.ndarray, level: float) -> Finding:
    """Average of the groups' correlations; groups too small or without variation are counted."""
    method = "Spearman within groups, Fisher z averaged with weights n - 3"
    usable, z_values, weights, sizes = 0, [], [], []
    labels = groups.astype(str)
    for label in np.unique(labels):
        one, two = first[labels == label], second[labels == label]
        if one.size < FEWEST or is_constant(one) or is_constant(two):
            continue
        usable += 1
        nearest = 1 - 12 / (one.size * (one.size**2 - 1))
        z_values.append(np.arctanh(np.clip(float(spearman(one, two)), -nearest, nearest)))
        weights.append(one.size - 3)
        sizes.append(one.size)
    left_out = len(np.unique(labels)) - usable
    if not usable:
        why = f"No association: no group has {FEWEST} replicates in which measure and metric vary."
        return unanswered("association", first.size, method, why, groups_left_out=left_out)
    z = float(np.average(z_values, weights=weights))
    correlation = float(np.tanh(z))
    scale = float(np.sqrt((1 + correlation**2 / 2) / sum(weights)))
    half = float(special.ndtri(0.5 + level / 2)) * scale
    interval = Interval(float(np.tanh(z - half)), float(np.tanh(z + half)), level)
    p = float(2 * special.ndtr(-abs(z) / np.sqrt(1 / sum(weights))))
    where = f"{sum(sizes)} replicates in {wording.plural(usable, 'group')}"
    details: dict[str, float | int | str | None] = {"groups": usable, "groups_left_out": left_out}
    return _finding(correlation, interval, sum(sizes), method, p, where, details)


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
