"""Probability that the arm beats its baseline: by seed, or between replicates where no seed is shared."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence
from sweeps.statistics.failures import exact_interval
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import Array, as_pairs, as_sample, t_p_value, t_quantile

Mode = Literal["max", "min"]


@STATISTICS.register(takes="pairs", question="location", default=True)
def probability_of_improvement(
    arm: ArrayLike, baseline: ArrayLike, *, level: Level = 0.95, mode: Mode = "max"
) -> Finding:
    """Probability that a seed does better in the arm than in the baseline, ties half, with the sign test.

    The interval runs from the exact lower end for strict wins to the exact upper end for wins and ties, so
    that it is conservative when there are ties and Clopper and Pearson's when there are none.
    """
    first, second = as_pairs(arm, baseline)
    method, n = "share of seeds improved, Clopper–Pearson; sign test", first.size
    if n == 0:
        why = "No probability of improvement: the arms have no seed in common."
        return unanswered("probability_of_improvement", 0, method, why)
    gains = first - second if mode == "max" else second - first
    wins, losses = int(np.count_nonzero(gains > 0)), int(np.count_nonzero(gains < 0))
    ties = n - wins - losses
    estimate = (wins + ties / 2) / n
    low = exact_interval(wins, n, level).low
    interval = Interval(low, exact_interval(wins + ties, n, level).high, level)
    p = float(min(1.0, 2 * special.bdtr(min(wins, losses), wins + losses, 0.5)))
    tied = f", {ties} tied" if ties else ""
    sentence = (
        f"{wins} of {wording.plural(n, 'seed')} do better{tied}: probability of improvement {estimate:.2f}, "
        f"{wording.percent(level)} interval [{interval.low:.2f}, {interval.high:.2f}], "
        f"sign test {wording.p_value(p)}."
    )
    details = {"wins": wins, "ties": ties, "losses": losses}
    return Finding(
        "probability_of_improvement",
        estimate,
        interval,
        n,
        method,
        sentence,
        p,
        2 * estimate - 1,
        "wins minus losses, as a share of seeds",
        (independence(),),
        details,
    )


def placements(arm: Array, baseline: Array) -> tuple[Array, Array]:
    """Share of the other sample below each member, ties half; shapes (n,) and (m,)."""
    wins = (arm[:, None] > baseline).astype(float) + 0.5 * (arm[:, None] == baseline)
    return wins.mean(axis=1), 1 - wins.mean(axis=0)


@STATISTICS.register(takes="two_samples", question="location")
def unpaired_probability_of_improvement(
    arm: ArrayLike, baseline: ArrayLike, *, level: Level = 0.95, mode: Mode = "max"
) -> Finding:
    """Probability that a replicate of the arm beats one of the baseline, with Brunner–Munzel's interval.

    The interval is taken on the logit scale, so that it stays within 0..1.

    Source: Brunner and Munzel, Biometrical Journal 42 (2000) 17; as an aggregate over runs, Agarwal et al.,
    arXiv:2108.13264.
    """
    first, second = as_sample(arm, "arm"), as_sample(baseline, "baseline")
    method, n = "Brunner–Munzel, interval on the logit", first.size + second.size
    if min(first.size, second.size) < 2:
        why = "No probability of improvement: at least 2 replicates in either arm are needed."
        return unanswered("unpaired_probability_of_improvement", n, method, why)
    if mode == "min":
        first, second = -first, -second
    over, under = placements(first, second)
    estimate = float(over.mean())
    scale = np.sqrt(over.var(ddof=1) / first.size + under.var(ddof=1) / second.size)
    if scale == 0 or estimate in (0.0, 1.0):
        why = (
            f"Probability of improvement {estimate:.2f}, {first.size} against {second.size} replicates: they "
            "do not overlap, so there is no interval."
        )
        return unanswered("unpaired_probability_of_improvement", n, method, why, estimate)
    df = brunner_munzel_df(over, under)
    half = float(t_quantile(df, level)) * scale / (estimate * (1 - estimate))
    centre = float(special.logit(estimate))
    interval = Interval(float(special.expit(centre - half)), float(special.expit(centre + half)), level)
    p = float(t_p_value(np.asarray((estimate - 0.5) / scale), df))
    sentence = (
        f"Probability of improvement {estimate:.2f}, {wording.percent(level)} interval "
        f"[{interval.low:.2f}, {interval.high:.2f}], {wording.p_value(p)}, "
        f"{first.size} against {second.size} replicates, not paired."
    )
    return Finding(
        "unpaired_probability_of_improvement",
        estimate,
        interval,
        n,
        method,
        sentence,
        p,
        2 * estimate - 1,
        "Cliff's delta",
        (independence(),),
    )


def brunner_munzel_df(over: Array, under: Array) -> float:
    """Satterthwaite's degrees of freedom of Brunner and Munzel's statistic from the placements."""
    first, second = over.var(ddof=1) / over.size, under.var(ddof=1) / under.size
    return float((first + second) ** 2 / (first**2 / (over.size - 1) + second**2 / (under.size - 1)))
