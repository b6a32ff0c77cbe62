"""Spread of test accuracy beyond what a finite test set alone produces.

Two networks of equal quality still differ on N examples. If run r is right on example i with probability p_i,
independently across examples, accuracies vary by the mean of p_i (1 - p_i) over N. Only the rest is luck that
would matter on new data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence
from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import is_constant
from sweeps.statistics.spread import bonett_interval


def sampling_variance(correct: ArrayLike) -> float:
    """Variance of accuracy over runs that N independent examples give: the mean of p_i (1 - p_i), over N.

    Unbiased: p_i is estimated from R runs, whose p (1 - p) is too small by (R - 1) / R.

    Args:
        correct: Shape (runs, examples), whether a run was right on an example.
    """
    bits = np.asarray(correct, dtype=bool)
    runs, examples = bits.shape
    rates = bits.mean(axis=0)
    return float((rates * (1 - rates)).mean() * runs / (runs - 1) / examples)


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
    method = "variance less that of a finite test set; Bonett interval, chi-squared test"
    if bits.ndim != 2 or bits.dtype != np.bool_:
        raise InvalidSample(
            f"correctness must be bool of shape (replicates, examples); got {bits.dtype} {bits.shape}"
        )
    runs, examples = bits.shape
    if runs < 2 or examples < 2:
        shown = f"{wording.plural(runs, 'replicate')} on {wording.plural(examples, 'example')}"
        why = f"No excess variance from {shown}: at least 2 of each needed."
        return unanswered("excess_variance", runs, method, why)
    accuracy = bits.mean(axis=1)
    raw, expected = float(accuracy.var(ddof=1)), sampling_variance(bits)
    if expected == 0:
        why = f"All {runs} replicates are right on the same examples: no spread, none expected."
        return unanswered("excess_variance", runs, method, why, 0.0)
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
        method,
        _sentence(raw, expected, estimate, interval, p, runs, examples),
        p,
        raw / expected,
        "variance over that of the test set",
        (independence(), "without excess, errors on different examples are independent"),
        details,
    )


def _sentence(
    raw: float, expected: float, estimate: float, interval: Interval | None, p: float, runs: int, examples: int
) -> str:
    """Standard deviations, since people read those; a negative variance is none."""
    scale = raw**0.5 / 10 or expected**0.5 / 10
    shown = wording.number(max(estimate, 0.0) ** 0.5, scale)
    if interval is not None:
        ends = [wording.number(max(end, 0.0) ** 0.5, scale) for end in (interval.low, interval.high)]
        shown += f", {wording.percent(interval.level)} interval [{ends[0]}, {ends[1]}]"
    return (
        f"Standard deviation {wording.number(raw**0.5, scale)} over {runs} replicates, of which a test set of "
        f"{examples} examples alone gives {wording.number(expected**0.5, scale)}; in excess {shown} "
        f"({wording.p_value(p)} of none)."
    )
