"""What a statistic answers: a number with its interval, how it was obtained, and a sentence for a paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: Lower end; minus infinity for a one-sided interval.
        high: Upper end; infinity for a one-sided interval.
        level: Nominal coverage, in 0..1. What is really covered is measured in `benchmarks/calibration.py`.
    """

    low: float
    high: float
    level: float

    @property
    def width(self) -> float:
        """Distance between the ends, in units of the estimate."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Finding:
    """Result of one statistic.

    A number that does not exist (an interval from one replicate, a ratio of constants) is None, never NaN,
    and `sentence` says why.

    Attributes:
        statistic: Registered name of the statistic.
        estimate: The number asked for.
        interval: Its confidence interval.
        n: Units (replicates, seeds, rows) that entered.
        p: Two-sided p value unless `method` says otherwise, not corrected for multiplicity.
        effect: Standardised effect size; `effect_name` says which.
        method: Name of the method as a methods section would give it.
        assumptions: What the method takes for granted, with what the data say about it.
        sentence: The finding in words, numbers included.
        details: Further numbers, by name.
    """

    statistic: str
    estimate: float | None
    interval: Interval | None
    n: int
    method: str
    sentence: str
    p: float | None = None
    effect: float | None = None
    effect_name: str | None = None
    assumptions: tuple[str, ...] = ()
    details: Mapping[str, float | int | str | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        return asdict(self)


def unanswered(
    statistic: str,
    n: int,
    method: str,
    why: str,
    estimate: float | None = None,
    **details: float | int | str | None,
) -> Finding:
    """A finding without interval and p, whose sentence is `why`."""
    return Finding(statistic, estimate, None, n, method, why, details=details)
