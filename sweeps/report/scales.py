"""Scales: where a value lies between the two ends of an axis, and which values are written on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

RESOLUTION = 1e-9  # share of a value below which its digits are not told apart on an axis


class Tick(NamedTuple):
    """A value with what is written beside it ("" for a minor tick)."""

    value: float
    label: str


class Scale(Protocol):
    """A monotone map from values to 0..1."""

    def at(self, value: float) -> float:
        """Position of a value; 0 and 1 are the ends, values outside give positions outside."""

    def ticks(self) -> list[Tick]:
        """Values to write, inside the ends."""


@dataclass(frozen=True)
class Linear:
    """Even steps; `steps` is about how many ticks there is room for."""

    low: float
    high: float
    steps: int = 5

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        *,
        steps: int = 5,
        pad: float = 0.05,
        least: float = 1e-9,
        within: tuple[float, float] = (-math.inf, math.inf),
    ) -> Linear:
        """A scale that shows all finite values with a margin.

        Args:
            values: Values to show, NaN allowed.
            steps: About how many ticks.
            pad: Margin at each end, as a share of the range.
            least: Smallest range, for values that are all the same.
            within: What the margin must not pass, since no value can (0 and 1 for an accuracy).
        """
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        # Of huge values float64 resolves no smaller steps than these.
        least = max(least, RESOLUTION * max(abs(low), abs(high)))
        margin = max((high - low) * pad, (least - (high - low)) / 2)
        floor, ceiling = min(within[0], low), max(within[1], high)
        return cls(max(low - margin, floor), min(high + margin, ceiling), steps)

    def at(self, value: float) -> float:
        """Position of a value."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[Tick]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        step = _round_step((self.high - self.low) / max(self.steps, 1))
        first, last = math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [Tick(k * step, _decimal(k * step, decimals)) for k in range(first, last + 1)]


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return float(power * min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / raw))))


def _decimal(value: float, decimals: int) -> str:
    text = f"{abs(value):,.{decimals}f}".replace(",", "\u202f")
    return f"−{text}" if value < 0 and float(f"{value:.{decimals}f}") != 0 else text


@dataclass(frozen=True)
class Log:
    """Even ratios; both ends above 0."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float], *, pad: float = 0.05, least: float = 1.2) -> Log:
        """A scale that shows all positive finite values; `least` is the smallest ratio of its ends."""
        logs = [math.log(value) for value in values if math.isfinite(value) and value > 0] or [0.0]
        low, high = min(logs), max(logs)
        margin = max((high - low) * pad, (math.log(least) - (high - low)) / 2)
        return cls(math.exp(low - margin), math.exp(high + margin))

    def at(self, value: float) -> float:
        """Position of a value above 0."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[Tick]:
        """1, 2, 5 in each decade; only powers of ten are labelled over more than three decades."""
        decades = math.log10(self.high / self.low)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        factors = (1.0,) if decades > 6 else (1.0, 2.0, 5.0)
        found = [
            Tick(value, f"{value:g}" if factor == 1 or decades <= 3 else "")
            for power in powers
            for factor in factors
            if self.low <= (value := factor * 10.0**power) <= self.high * (1 + 1e-9)
        ]
        return found if len(found) >= 2 else self._few()

    def _few(self) -> list[Tick]:
        """Over less than a factor of about two, evenly spaced values read better."""
        return Linear(self.low, self.high, 3).ticks()


@dataclass(frozen=True)
class Rows:
    """Equal slots for things that have no number, the first at 0."""

    labels: Sequence[str]

    def at(self, value: float) -> float:
        """Middle of slot `value`."""
        return (value + 0.5) / max(len(self.labels), 1)

    def ticks(self) -> list[Tick]:
        """Every label that says something."""
        return [Tick(index, label) for index, label in enumerate(self.labels) if label]
