"""How often replicates break: rates with exact intervals, and whether two arms' rates differ."""

from __future__ import annotations

import numpy as np
from scipy import special, stats

from sweeps.statistics import wording
from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level


def exact_interval(count: int, trials: int, level: float) -> Interval:
    """Clopper and Pearson's interval of a rate, from the beta quantiles.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404.
    """
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(special.betaincinv(count, trials - count + 1, tail))
    high = 1.0 if count == trials else float(special.betaincinv(count + 1, trials - count, 1 - tail))
    return Interval(low, high, level)


def _checked(failures: int, trials: int) -> None:
    if not 0 <= failures <= trials:
        raise InvalidSample(f"failures must lie in 0..{trials}; got {failures}")


@STATISTICS.register(takes="counts", question="failures", default=True)
def failure_rate(failures: int, trials: int, *, level: Level = 0.95, event: str = "failed") -> Finding:
    """Share of replicates that broke (diverged, died) with Clopper and Pearson's exact interval."""
    _checked(failures, trials)
    method = "Clopper–Pearson exact interval"
    if trials == 0:
        return unanswered("failure_rate", 0, method, "No rate: no replicate was run.")
    interval = exact_interval(failures, trials, level)
    sentence = (
        f"{failures} of {trials} replicates {event}: rate {failures / trials:.3g}, "
        f"{wording.percent(level)} interval [{interval.low:.3g}, {interval.high:.3g}]."
    )
    return Finding(
        "failure_rate",
        failures / trials,
        interval,
        trials,
        method,
        sentence,
        assumptions=("replicates independent",),
    )


@STATISTICS.register(takes="two_counts", question="failures", default=True)
def failure_difference(failures: int, trials: int, baseline_failures: int, baseline_trials: int) -> Finding:
    """Difference of two failure rates, arm minus baseline, with Fisher's exact test."""
    _checked(failures, trials)
    _checked(baseline_failures, baseline_trials)
    method, n = "Fisher exact", trials + baseline_trials
    if min(trials, baseline_trials) == 0:
        return unanswered("failure_difference", n, method, "No difference of rates: an arm has no replicate.")
    counts = [[failures, trials - failures], [baseline_failures, baseline_trials - baseline_failures]]
    p = float(stats.fisher_exact(np.array(counts)).pvalue)
    estimate = failures / trials - baseline_failures / baseline_trials
    sentence = (
        f"{failures} of {trials} replicates failed against {baseline_failures} of {baseline_trials}, "
        f"{wording.p_value(p)} (Fisher exact)."
    )
    return Finding(
        "failure_difference", estimate, None, n, method, sentence, p, assumptions=("replicates independent",)
    )
