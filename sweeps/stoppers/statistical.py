"""Stop a trial when its replicates exclude it from the best."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt
from scipy import special

from sweeps.statistics.samples import Array, is_constant
from sweeps.stoppers.contract import STOPPERS, Epochs, Look


@STOPPERS.register(version=1, statistics=("mean",), least_replicates=3)
def statistical(
    look: Look,
    *,
    best: Annotated[int, Ge(1)] = 1,
    level: Annotated[float, Gt(0), Lt(1)] = 0.95,
    looks: Annotated[int, Ge(1)] = 3,
    grace: Epochs = 1,
) -> str | None:
    """Stop a trial once `best` others are better than it beyond doubt, by their replicates' differences.

    It is looked at `looks` times, evenly over the training but not before `grace` epochs. At a look another trial
    is better if the one-sided interval of the mean difference, paired by seed, lies above 0.

    All these intervals together cover with probability `level`: Bonferroni over the looks, over the other trials
    of the sweep, and over the `best` trials that must not be stopped. So the probability that any of those with
    the best `best` true means (at the epochs looked at) is stopped is at most 1 - `level`: being among them, at
    most `best` - 1 others are truly better, and one interval at least would have to miss.

    Source: Student's t; Bonferroni's inequality.
    """
    if look.epoch not in look_epochs(look.epochs, grace, looks):
        return None
    rivals = [curve.samples[look.epoch - 1] for curve in look.others.values() if len(curve) >= look.epoch]
    each = 1 - (1 - level) / (looks * best * max(look.trials - 1, 1))
    better = sum(_is_better(rival, look.curve.samples[-1], each) for rival in rivals)
    if better < best:
        return None
    return (
        f"{better} others are better at epoch {look.epoch} by intervals of {each:.6g} each, so it is not among "
        f"the best {best} at the level {level:g} over {looks} looks"
    )


def look_epochs(epochs: int, grace: int, looks: int) -> list[int]:
    """Epochs at which trials are looked at: evenly inside the training, none before `grace`.

    >>> look_epochs(20, 1, 3)
    [5, 10, 15]
    """
    evenly = (round(epochs * number / (looks + 1)) for number in range(1, looks + 1))
    return sorted({max(epoch, grace) for epoch in evenly if max(epoch, grace) < epochs})


def _is_better(rival: tuple[float, ...], own: tuple[float, ...], level: float) -> bool:
    """Whether the rival's mean is the larger one: its replicates' values less those of the same seeds."""
    first, second = np.array(rival), np.array(own)
    if not np.isfinite(first).all():
        return False
    if not np.isfinite(second).all():
        return True  # a diverged replicate ranks a trial last
    return _lower_bound(first - second, level) > 0


def _lower_bound(differences: Array, level: float) -> float:
    """One-sided lower bound of the mean; none from differences that have no spread to tell it by."""
    n = differences.size
    if n < 2 or is_constant(differences):
        return -math.inf
    return float(differences.mean() - special.stdtrit(n - 1, level) * differences.std(ddof=1) / math.sqrt(n))
