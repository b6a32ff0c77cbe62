"""Spread of test accuracy beyond what a finite test set alone produces.

Two networks of equal quality still differ on N examples. If run r is right on example i with probability p_i,
independently across examples, accuracies vary by the mean of p_i (1 - p_i) over N. Only the rest is luck that
would matter on new data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence
from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, is_constant
from sweeps.statistics.spread import bonett_interval

METHOD = "variance less that of a finite test set; Bonett interval, chi-squared test"


def sampling_variance(correct: ArrayLike) -> float:
    """Variance of accuracy over runs that N independent examples give: the mean of p_i (1 - p_i), over N.

    Unbiased: each p_i (1 - p_i) is the variance over R runs with R - 1 in its denominator. Where a run is itself
    the mean of several networks, its variance on an example is what stands for p_i (1 - p_i).

    Args:
        correct: Shape (runs, examples), whether a run was right on an example; or how often, in 0..1.
    """
    rates = np.asarray(correct)
    if rates.dtype == np.bool_:  # sums of bits are exact and several times faster
        shares = rates.mean(axis=0)
        return float((shares * (1 - shares)).mean() * rates.shape[0] / (rates.shape[0] - 1) / rates.shape[1])
    return float(rates.var(axis=0, ddof=1).mean() / rates.shape[1])


@STATISTICS.register(takes="bits", question="spread", default=True)
def excess_variance(correct: ArrayLike, *, level: Level = 0.95) -> Finding:
    """Variance of accuracy over replicates in excess of the finite test set's, from per-example correctness.

    Over test sets of N independent examples, E[Var(accuracy)] = E[p (1 - p)] / N + (1 - 1/N) V, where V is
    the variance of the true accuracy; so (s² - mean p_i (1 - p_i) / N) N / (N - 1) estimates V without bias.
    The interval is Bonett's for s², shifted: the subtracted term averages N examples and is almost known. The
    p value is of no excess: (R - 1) s² over it is chi-squared with R - 1 degrees of freedom, since accuracies
    are then sums of independent bits.

    Source: Jordan, arXiv:2304.01910 (distribution-wise variance).
    """
    bits = np.asarray(correct)
    if bits.ndim != 2 or bits.dtype != np.bool_:
        raise InvalidSample(
            f"correctness must be bool of shape (replicates, examples); got {bits.dtype} {bits.shape}"
        )
    return excess_of(bits, level)


def excess_of(rates: NDArray[np.bool_] | Array, level: float) -> Finding:
    """The finding for units that are replicates (bool) or means of several (shares in 0..1), (units, examples)."""
    runs, examples = rates.shape
    if runs < 2 or examples < 2:
        shown = f"{wording.plural(runs, 'replicate')} on {wording.plural(examples, 'example')}"
        why = f"No excess variance from {shown}: at least 2 of each needed."
        return unanswered("excess_variance", runs, METHOD, why)
    accuracy = rates.mean(axis=1)
    raw, expected = float(accuracy.var(ddof=1)), sampling_variance(rates)
    if expected == 0:
        why = f"All {runs} replicates are right on the same examples: no spread, none expected."
        return unanswered("excess_variance", runs, METHOD, why, 0.0)
    factor = examples / (examples - 1)
    estimate = (raw - expected) * factor
    mean_rate = float(accuracy.mean())
    details: dict[str, float | int | str | None] = {
        "sd": raw**0.5,
        "test_set_sd": expected**0.5,
        "excess_sd": max(estimate, 0.0) ** 0.5,
        "binomial_sd": (mean_rate * (1 - mean_rate) / examples) ** 0.5,
        "share_of_test_set": expected / raw if raw else None,
        "examples": examples,
    }
    p = float(special.chdtrc(runs - 1, (runs - 1) * raw / expected))
    interval = None
    if runs >= 5 and not is_constant(accuracy):
        _, low, high = (float(x) for x in bonett_interval(accuracy, level))
        interval = Interval((low**2 - expected) * factor, (high**2 - expected) * factor, level)
    return Finding(
        "excess_variance",
        estimate,
        interval,
        runs,
        METHOD,
        _sentence(raw, expected, estimate, interval, p, runs, examples),
        p,
        raw / expected,
        "variance over that of the test set",
        (independence(), "without excess, errors on different examples are independent"),
        details,
    )


def excess_ratio(arm: Finding, baseline: Finding) -> Finding:
    """Ratio of two excess variances; None with the reason where either is no more than the test set's.

    A point without an interval: with as few replicates as trials have, the baseline's excess may be nothing, and
    then no ratio bounds it. The two standard deviations in excess carry the intervals.
    """
    method, n = "ratio of variances in excess of the test set's", min(arm.n, baseline.n)
    if arm.estimate is None or baseline.estimate is None:
        return unanswered("excess_ratio", n, method, "No ratio of excess variances: an arm has none.")
    if baseline.estimate <= 0:
        why = "No ratio of excess variances: the baseline scatters no more than its test set alone makes it."
        return unanswered("excess_ratio", n, method, why)
    ratio = max(arm.estimate, 0.0) / baseline.estimate
    sentence = f"Ratio of variances in excess of the test set's {wording.ratio(ratio)}, without an interval."
    return Finding("excess_ratio", ratio, None, n, method, sentence)


def _sentence(
    raw: float, expected: float, estimate: float, interval: Interval | None, p: float, runs: int, examples: int
) -> str:
    """Standard deviations, since people read those; a negative variance is none."""
    shown = wording.ratio(max(estimate, 0.0) ** 0.5)
    if interval is not None:
        ends = [wording.ratio(max(end, 0.0) ** 0.5) for end in (interval.low, interval.high)]
        shown += f", {wording.percent(interval.level)} interval [{ends[0]}, {ends[1]}]"
    return (
        f"Standard deviation {wording.ratio(raw**0.5)} over {wording.plural(runs, 'replicate')}, of which a test "
        f"set of {examples:,} examples alone gives {wording.ratio(expected**0.5)}; in excess {shown} "
        f"(no excess: {wording.p_value(p)})."
    )
