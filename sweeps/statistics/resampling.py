"""Bootstrap and permutation kernels, along the last axis of arrays of any shape, all from a stated seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sweeps.statistics.samples import Array, Estimates

# Applied to one sample, or to an arm and its baseline, along the last axis.
Statistic: TypeAlias = Callable[..., Array]

# Permuted statistics this close (relatively) to the observed one count as equal to it: both come from the
# same sums in another order.
TIED = 1e-9
# Numbers held at once by one step of a bootstrap.
WORKING_SET = 20_000_000


class Signs(NamedTuple):
    """Which seeds have their arms swapped, shape (permutations, n), and whether that is all of them."""

    swapped: NDArray[np.bool_]
    exact: bool


def sign_flips(n: int, resamples: int, seed: int) -> Signs:
    """All 2^n ways to swap the arms of n seeds if they are no more than `resamples`, else that many at random."""
    if n < 63 and 2**n <= resamples:
        return Signs((np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1, True)
    return Signs(np.random.default_rng(seed).random((resamples, n)) < 0.5, False)


def permutation_p_value(observed: Array, permuted: Array, exact: bool) -> Array:
    """Share of permuted |statistics| (last axis) that reach the observed one; shape (*batch).

    Drawn at random, the observed arrangement counts as one of them, so that p is never 0.

    Source: Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9 (2010) 39.
    """
    reach = np.abs(permuted) >= np.abs(observed)[..., None] * (1 - TIED)
    count = reach.sum(axis=-1)
    return count / permuted.shape[-1] if exact else (count + 1) / (permuted.shape[-1] + 1)


def permuted_mean_differences(differences: Array, signs: Signs) -> Array:
    """Mean difference under each swap; (*batch, n) to (*batch, permutations)."""
    flipped = np.where(signs.swapped, -1.0, 1.0)
    return differences @ flipped.T / differences.shape[-1]


def permuted_log_ratios(arm: Array, baseline: Array, signs: Signs) -> Array:
    """Log variance ratio under each swap of centred arms; (*batch, n) to (*batch, permutations).

    Each arm is centred on its mean first, so that a difference in means is no difference in spread; the test
    is therefore approximate. Sums and sums of squares are linear in the swaps: no resample is ever formed.
    """
    n = arm.shape[-1]
    first, second = (x - x.mean(axis=-1, keepdims=True) for x in (arm, baseline))
    swaps = signs.swapped.T.astype(np.float64)
    moved = (second - first) @ swaps  # sum of the arm after swapping; the baseline's is minus it
    exchanged = (second**2 - first**2) @ swaps
    squares_first = (first**2).sum(axis=-1)[..., None] + exchanged
    squares_second = (second**2).sum(axis=-1)[..., None] - exchanged
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(squares_first - moved**2 / n) - np.log(squares_second - moved**2 / n)
    return np.nan_to_num(ratios, nan=0.0, posinf=np.inf, neginf=-np.inf)


def bca_interval(
    statistic: Statistic, samples: tuple[Array, ...], level: float, resamples: int, seed: int
) -> Estimates:
    """Bias-corrected and accelerated bootstrap along the last axis; samples are resampled by seed, together.

    Resamples on which the statistic does not exist (a ratio of two zero variances) are left out.

    Source: Efron, Journal of the American Statistical Association 82 (1987) 171; Efron and Tibshirani, An
    Introduction to the Bootstrap, section 14.3.
    """
    n, generator = samples[0].shape[-1], np.random.default_rng(seed)
    estimate = np.asarray(statistic(*samples), dtype=np.float64)
    step = max(1, WORKING_SET // max(1, samples[0].size))
    parts = []
    for start in range(0, resamples, step):
        chosen = generator.integers(0, n, (min(step, resamples - start), n))
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(statistic(*(sample[..., chosen] for sample in samples)))
    bootstrapped = np.sort(np.concatenate(parts, axis=-1), axis=-1)  # what does not exist comes last
    others = np.array([np.delete(np.arange(n), i) for i in range(n)])
    without_one = statistic(*(sample[..., others] for sample in samples))
    low, high = (
        _bca_end(estimate, bootstrapped, without_one, tail) for tail in ((1 - level) / 2, (1 + level) / 2)
    )
    return Estimates(estimate, low, high)


def _bca_end(estimate: Array, bootstrapped: Array, without_one: Array, tail: float) -> Array:
    """One end of the interval: the bootstrap quantile at the corrected probability."""
    count = np.isfinite(bootstrapped).sum(axis=-1)
    below = (bootstrapped < estimate[..., None]).sum(axis=-1) + (bootstrapped <= estimate[..., None]).sum(axis=-1)
    shift = special.ndtri(below / (2 * count))
    centred = without_one.mean(axis=-1, keepdims=True) - without_one
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = (centred**3).sum(axis=-1) / (6 * (centred**2).sum(axis=-1) ** 1.5)
        reach = shift + special.ndtri(tail)
        place = special.ndtr(shift + reach / (1 - acceleration * reach)) * (count - 1)
    usable = np.isfinite(place)
    index = np.where(usable, place, 0.0)
    left = np.floor(index).astype(np.int64)
    right = np.minimum(left + 1, np.maximum(count - 1, 0))
    ends = [np.take_along_axis(bootstrapped, i[..., None], axis=-1)[..., 0] for i in (left, right)]
    return np.where(usable, ends[0] + (index - left) * (ends[1] - ends[0]), np.nan)
