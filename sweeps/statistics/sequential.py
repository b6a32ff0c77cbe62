"""How many more seeds: until the interval of the mean is as narrow as asked."""

from __future__ import annotations

from math import ceil
from typing import Annotated

from annotated_types import Ge, Gt
from numpy.typing import ArrayLike

from sweeps.statistics import wording
from sweeps.statistics.assumptions import independence, normality
from sweeps.statistics.finding import Finding, Interval, unanswered
from sweeps.statistics.location import mean_interval
from sweeps.statistics.registry import STATISTICS, Level
from sweeps.statistics.samples import as_sample, is_constant, t_quantile

# Seeds after a look over those before it: what is trained is at most so much more than was needed.
GROWTH = 1.5


def looks(first: int, most: int) -> list[int]:
    """Seeds at each look there may be, the first and the last included."""
    sizes = [first]
    while sizes[-1] < most:
        sizes.append(min(most, ceil(GROWTH * sizes[-1])))
    return sizes


def look_level(level: float, looks: int) -> float:
    """Level of each of several intervals, so that all of them cover with at least `level` (Bonferroni)."""
    return 1 - (1 - level) / looks


@STATISTICS.register(takes="sample", question="sequential", default=True, example={"width": 0.5})
def seeds_needed(
    values: ArrayLike,
    *,
    width: Annotated[float, Gt(0)],
    level: Level = 0.95,
    looks: Annotated[int, Ge(1)] = 1,
    most: Annotated[int, Ge(2)] = 10_000,
) -> Finding:
    """Seeds in all until the interval of the mean, end to end, is at most `width`.

    With s from the n seeds so far, max(n, ceil((2 t s / width)²)), t with n - 1 degrees of freedom: Stein's
    rule, whose interval of that width, with this s and t, covers exactly under normality. `interval` is the
    present one. `looks` is how often one means to look and then decide: each look then uses a higher level,
    so that stopping at any of them keeps the level.

    Source: Stein, Annals of Mathematical Statistics 16 (1945) 243; Bonferroni over looks.
    """
    sample = as_sample(values)
    each = look_level(level, looks)
    method = "Stein's two-stage rule" + (f", Bonferroni over {looks} looks" if looks > 1 else "")
    n = sample.size
    if n < 2:
        why = f"Seeds needed unknown: {wording.plural(n, 'finished replicate')} so far, at least 2 needed."
        return unanswered("seeds_needed", n, method, why)
    if is_constant(sample):
        why = f"All {n} replicates are equal: no more seeds are needed as far as these can tell."
        return unanswered("seeds_needed", n, method, why, float(n))
    spread = float(sample.std(ddof=1))
    needed = max(n, ceil((2 * float(t_quantile(n - 1, each)) * spread / width) ** 2))
    _, low, high = (float(x) for x in mean_interval(sample, each))
    interval = Interval(low, high, each)
    now = f"{wording.percent(each)} interval {wording.number(interval.width, width)} wide after {n} seeds"
    if needed <= n:
        rest = f"not wider than {wording.number(width)}: no more are needed"
    elif needed > most:
        rest = f"for {wording.number(width)} more than {most} seeds would be needed"
    else:
        rest = f"for {wording.number(width)} about {needed} seeds are needed, {needed - n} more"
    assumptions = (independence(), normality(sample))
    details = {"more": needed - n, "width": interval.width, "each_level": each}
    sentence = f"{now}, {rest}."
    return Finding(
        "seeds_needed", float(needed), interval, n, method, sentence, None, None, None, assumptions, details
    )
