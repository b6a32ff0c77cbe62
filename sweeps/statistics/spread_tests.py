"""Tests of equal variances. Brown and Forsythe's is the verdict; the others are offered and never decide.

Measured at 5 % (`benchmarks/calibration.py`): Brown–Forsythe rejects at most 5 % under normal, skewed and
heavy-tailed replicates, less when the arms are positively correlated by seed; its paired form holds the level
too and gains power with the correlation; Pitman–Morgan rejects 8–24 % under lognormal(0.5) or heavy tails.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence, normality
from sweeps.statistics.finding import Finding, unanswered
from sweeps.statistics.registry import STATISTICS
from sweeps.statistics.samples import Array, as_pairs, as_sample, is_constant, t_p_value


class Tested(NamedTuple):
    """Test statistics with two-sided p values, equal shapes (*batch)."""

    statistic: Array
    p: Array


def deviations(values: Array) -> Array:
    """Absolute deviations from the median, along the last axis."""
    return np.abs(values - np.median(values, axis=-1, keepdims=True))


def brown_forsythe_test(arm: Array, baseline: Array) -> Tested:
    """Student's t on absolute deviations from the median (for two arms F = t²), along the last axes.

    Source: Brown and Forsythe, Journal of the American Statistical Association 69 (1974) 364.
    """
    first, second = deviations(arm), deviations(baseline)
    n, m = arm.shape[-1], baseline.shape[-1]
    squares = (n - 1) * first.var(axis=-1, ddof=1) + (m - 1) * second.var(axis=-1, ddof=1)
    scale = np.sqrt(squares / (n + m - 2) * (1 / n + 1 / m))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (first.mean(axis=-1) - second.mean(axis=-1)) / scale
    return Tested(t, t_p_value(t, n + m - 2))


def paired_brown_forsythe_test(arm: Array, baseline: Array) -> Tested:
    """Paired t on absolute deviations from each arm's median, along the last axis.

    Source: Wilcox, Communications in Statistics: Theory and Methods 18 (1989) 3187, the dependent case of the
    test above.
    """
    differences = deviations(arm) - deviations(baseline)
    n = differences.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = differences.mean(axis=-1) / (differences.std(axis=-1, ddof=1) / np.sqrt(n))
    return Tested(t, t_p_value(t, n - 1))


def pitman_morgan_test(arm: Array, baseline: Array) -> Tested:
    """Correlation of sums and differences: zero exactly when the variances are equal. Along the last axis.

    Source: Pitman, Biometrika 31 (1939) 9; Morgan, Biometrika 31 (1939) 13: t = r sqrt((n-2)/(1-r²)).
    """
    n = arm.shape[-1]
    sums, differences = arm + baseline, arm - baseline
    sums = sums - sums.mean(axis=-1, keepdims=True)
    differences = differences - differences.mean(axis=-1, keepdims=True)
    scale = np.sqrt((sums**2).sum(axis=-1) * (differences**2).sum(axis=-1))
    r = np.clip((sums * differences).sum(axis=-1) / scale, -1, 1)
    with np.errstate(divide="ignore"):
        t = r * np.sqrt((n - 2) / (1 - r**2))
    return Tested(t, t_p_value(t, n - 2))


def _untestable(statistic: str, method: str, arm: Array, baseline: Array, needed: int) -> Finding | None:
    n = min(arm.size, baseline.size)
    if n < needed:
        why = f"Variances not tested: {wording.plural(n, 'replicate')} in an arm, at least {needed} needed."
        return unanswered(statistic, n, method, why)
    if is_constant(arm) and is_constant(baseline):
        return unanswered(statistic, n, method, "Variances not tested: the replicates of both arms are all equal.")
    return None


def _finding(statistic: str, method: str, test: Tested, n: int, assumptions: tuple[str, ...]) -> Finding:
    t, p = float(test.statistic), float(test.p)
    if not np.isfinite(t):
        why = "Variances not tested: within each arm every replicate lies equally far from the median."
        return unanswered(statistic, n, method, why)
    sentence = f"{method}: {wording.p_value(p)}, t = {wording.ratio(t)}, n = {n}."
    return Finding(statistic, t, None, n, method, sentence, p, assumptions=assumptions)


@STATISTICS.register(takes="two_samples", question="spread", default=True, antisymmetric=True)
def brown_forsythe(arm: ArrayLike, baseline: ArrayLike) -> Finding:
    """Test of equal variances on deviations from medians: the verdict. t < 0: the arm scatters less."""
    first, second = as_sample(arm, "arm"), as_sample(baseline, "baseline")
    method = "Brown–Forsythe"
    nothing = _untestable("brown_forsythe", method, first, second, 3)
    if nothing:
        return nothing
    assumptions = (
        independence(),
        "arms independent; seeds shared by positively correlated arms make it conservative",
    )
    test = brown_forsythe_test(first, second)
    return _finding("brown_forsythe", method, test, min(first.size, second.size), assumptions)


@STATISTICS.register(takes="pairs", question="spread", antisymmetric=True)
def paired_brown_forsythe(arm: ArrayLike, baseline: ArrayLike) -> Finding:
    """Brown–Forsythe's test for arms paired by seed: more power the stronger the correlation."""
    first, second = as_pairs(arm, baseline)
    method = "Brown–Forsythe, paired by seed"
    nothing = _untestable("paired_brown_forsythe", method, first, second, 3)
    if nothing:
        return nothing
    test = paired_brown_forsythe_test(first, second)
    return _finding("paired_brown_forsythe", method, test, first.size, (independence(),))


@STATISTICS.register(takes="pairs", question="spread", antisymmetric=True, holds_level=False)
def pitman_morgan(arm: ArrayLike, baseline: ArrayLike) -> Finding:
    """Pitman–Morgan test of equal variances by seed: exact if normal, wrong under skew or heavy tails."""
    first, second = as_pairs(arm, baseline)
    method = "Pitman–Morgan"
    nothing = _untestable("pitman_morgan", method, first, second, 3)
    if nothing:
        return nothing
    sums, differences = first + second, first - second
    magnitude = float(max(np.abs(first).max(), np.abs(second).max()))
    if is_constant(differences, magnitude) or is_constant(sums, magnitude):
        why = "Variances not tested: the arms differ by a constant, so their variances are equal."
        return unanswered("pitman_morgan", first.size, method, why)
    assumptions = (
        independence(),
        normality(first, "arm") + "; without it the test rejects several times too often",
        normality(second, "baseline"),
    )
    return _finding("pitman_morgan", method, pitman_morgan_test(first, second), first.size, assumptions)
