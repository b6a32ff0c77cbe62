"""What could have been seen: the smallest effects that a number of replicates detects."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.finding import Finding, unanswered
from sweeps.statistics.registry import STATISTICS, Level, Power
from sweeps.statistics.samples import t_quantile
from sweeps.statistics.spread_tests import brown_forsythe_test

# Simulated normal experiments behind one detectable ratio; the standard error of a power of 0.8 is 0.9
# points.
SIMULATIONS = 2000
# Beyond this is one standard normal number in 10^18. Gauss–Legendre between it and where what is integrated bends.
NORMAL_END, PANELS = 9.0, 16
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
# Ratios beyond this are reported as not detectable.
LARGEST_RATIO = 1e6


def paired_t_power(effect: float, n: int, level: float) -> float:
    """Power of the two-sided paired t test; `effect` in standard deviations of the differences.

    The statistic is (Z + effect sqrt(n)) / S with Z standard normal and, independent of it, (n - 1) S² chi-square
    of n - 1 degrees of freedom. So the power is the integral over Z of the chance that S is small enough. The
    tails of the noncentral t distribution are the same number, but scipy's are NaN for much that is asked here.
    """
    critical, shift = float(t_quantile(n - 1, level)), effect * np.sqrt(n)
    # The chance bends where it is 0, and turns to 1 around the critical value, the faster the larger n is.
    width = min(1.0, NORMAL_END / np.sqrt(2 * (n - 1)))
    turns = critical * np.array([0, 1 - width, 1, 1 + width, np.inf])
    bends = np.unique(np.clip([-turns - shift, turns - shift], -NORMAL_END, NORMAL_END))
    edges = np.concatenate([np.linspace(*piece, PANELS, endpoint=False) for piece in itertools.pairwise(bends)])
    half = np.diff(edges, append=NORMAL_END)[:, None] / 2
    z = edges[:, None] + half * (1 + _NODES)
    chance = special.chdtr(n - 1, (n - 1) * ((z + shift) / critical) ** 2)
    return float(np.sum(half * _WEIGHTS * np.exp(-(z**2) / 2) * chance) / np.sqrt(2 * np.pi))


@lru_cache(maxsize=4096)
def detectable_effect(n: int, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest standardised mean difference that the paired t test finds with probability `power`, n >= 2."""
    low, high = 0.0, 1.0
    while paired_t_power(high, n, level) < power:
        high *= 2
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if paired_t_power(middle, n, level) < power else (low, middle)
    return high


def f_test_ratio(n: int, m: int, level: float, power: float) -> float:
    """Variance ratio above 1 that the two-sided F test of normal arms finds with probability `power`.

    The upper critical value times the F quantile that is exceeded with that probability; with power 1/2 and n
    = m it is the critical value itself (9.6 at n = 5, 2.1 at n = 30).
    """
    critical = float(special.fdtri(n - 1, m - 1, 0.5 + level / 2))
    return critical / float(special.fdtri(n - 1, m - 1, 1 - power))


@lru_cache(maxsize=4096)
def brown_forsythe_ratio(n: int, m: int, level: float = 0.95, power: float = 0.8) -> float:
    """Variance ratio above 1 that Brown–Forsythe finds with probability `power` between normal arms.

    Bisection on simulated experiments that are the same for every ratio, so that the answer is deterministic.
    Infinite beyond `LARGEST_RATIO` (arms of 3 or 4).
    """
    generator = np.random.default_rng([n, m])
    arm, baseline = generator.standard_normal((SIMULATIONS, n)), generator.standard_normal((SIMULATIONS, m))

    def reached(log_ratio: float) -> bool:
        p = brown_forsythe_test(arm * np.exp(log_ratio / 2), baseline).p
        return float(np.mean(p < 1 - level)) >= power

    low, high = 0.0, float(np.log(LARGEST_RATIO))
    if not reached(high):
        return float("inf")
    while high - low > 0.005:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return float(np.exp(high))


@STATISTICS.register(takes="plan", question="power", default=True)
def detectable_difference(
    n: int, *, sd_of_differences: float = 1.0, level: Level = 0.95, power: Power = 0.8
) -> Finding:
    """Smallest mean difference by seed that the paired t test would find, in units of the metric."""
    method = f"power of the paired t test, {100 * power:.3g} %"
    if n < 2:
        why = f"Nothing can be detected with {wording.plural(n, 'seed')}: at least 2 are needed."
        return unanswered("detectable_difference", n, method, why)
    effect = detectable_effect(n, level, power)
    estimate = effect * sd_of_differences
    sentence = (
        f"With {n} seeds in both arms a mean difference of {wording.number(estimate)} would be found in "
        f"{100 * power:.3g} % of experiments (standard deviation of the differences "
        f"{wording.number(sd_of_differences)})."
    )
    assumptions = ("differences normal",)
    return Finding("detectable_difference", estimate, None, n, method, sentence, None, effect, "d_z", assumptions)


@STATISTICS.register(takes="plan", question="power", default=True)
def detectable_ratio(
    n: int,
    *,
    baseline_n: int | None = None,
    test: Literal["brown_forsythe", "f"] = "brown_forsythe",
    level: Level = 0.95,
    power: Power = 0.8,
) -> Finding:
    """Smallest ratio of variances (or its inverse) that the verdict's test would find between normal arms."""
    m = n if baseline_n is None else baseline_n
    name = "Brown–Forsythe test, simulated" if test == "brown_forsythe" else "F test"
    method = f"power of the {name}, {100 * power:.3g} %"
    if min(n, m) < 3:
        why = f"No ratio of variances can be detected with {wording.plural(min(n, m), 'replicate')} an arm."
        return unanswered("detectable_ratio", min(n, m), method, why)
    estimate = (brown_forsythe_ratio if test == "brown_forsythe" else f_test_ratio)(n, m, level, power)
    if not np.isfinite(estimate):
        chance = f"{100 * power:.3g} %"
        why = f"With {min(n, m)} replicates an arm no variance ratio would be found in {chance} of cases."
        return unanswered("detectable_ratio", min(n, m), method, why)
    arms = f"{n} replicates an arm" if n == m else f"{n} and {m} replicates"
    sentence = (
        f"With {arms} only variance ratios beyond {wording.ratio(estimate)} (or below "
        f"{wording.ratio(1 / estimate)}) would be found in {100 * power:.3g} % of experiments."
    )
    return Finding("detectable_ratio", estimate, None, min(n, m), method, sentence, assumptions=("arms normal",))
