"""When layers are cut and how hard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from rmt.errors import InvalidOption

Shape: TypeAlias = str | Callable[[int], float]
SHAPES = ("linear", "constant")


@dataclass(frozen=True)
class Schedule:
    """Cuts every `every` epochs from `start` on, all before the last epoch, so that training has the last word.

    Attributes:
        every: Epochs between cuts, at least 1.
        epochs: Epochs of the whole training, at least 1.
        start: Epoch of the first cut, at least 1; `every` when not given.
        shape: How the strength grows from cut to cut: "linear" to the whole aggressiveness at the last one,
            "constant" at the whole from the first one on, or a function f of the epoch, the fraction in [0, 1] of
            what a rule may remove that stays; the strength is then aggressiveness · (1 − f(epoch)).

    Raises:
        InvalidOption: A number below 1, no such shape, or a function with a value outside [0, 1] at a due epoch.
    """

    every: int
    epochs: int
    start: int | None = None
    shape: Shape = "linear"

    def __post_init__(self) -> None:
        for name, value in (("every", self.every), ("epochs", self.epochs), ("start", self.first)):
            if value < 1:
                raise InvalidOption(f"{name} is {value}; it must be at least 1")
        if isinstance(self.shape, str) and self.shape not in SHAPES:
            known = ", ".join(SHAPES)
            raise InvalidOption(f"schedule is {self.shape!r}; known: {known}, or a function of the epoch")
        for epoch in self.epochs_due:
            self.progress(epoch)

    @property
    def first(self) -> int:
        """Epoch of the first cut, if it comes before the last epoch."""
        return self.every if self.start is None else self.start

    @property
    def epochs_due(self) -> tuple[int, ...]:
        """Every `every` epochs from the first on, strictly before the last epoch."""
        return tuple(range(self.first, self.epochs, self.every))

    def progress(self, epoch: int) -> float:
        """Share of the aggressiveness reached at `epoch`.

        The linear ramp is 0 one interval before the first cut and 1 at the last.

        Raises:
            InvalidOption: The schedule's function gives something outside [0, 1] there.
        """
        if callable(self.shape):
            return 1 - _fraction(self.shape, epoch)
        if not self.epochs_due:
            return 0.0
        if self.shape == "constant":
            return 1.0 if epoch >= self.first else 0.0
        zero = self.first - self.every
        return min(1.0, max(0.0, (epoch - zero) / (self.epochs_due[-1] - zero)))

    def strength(self, epoch: int, aggressiveness: float, horizon: int | None = None) -> float:
        """Aggressiveness reached at `epoch`; with a horizon T, 1 − max(0, 1 − epoch / T) instead."""
        if horizon is not None:
            return min(1.0, epoch / horizon)
        return aggressiveness * self.progress(epoch)


def _fraction(shape: Callable[[int], float], epoch: int) -> float:
    kept = float(shape(epoch))
    if not 0 <= kept <= 1:
        raise InvalidOption(f"schedule gives {kept} at epoch {epoch}; a fraction to keep must lie in [0, 1]")
    return kept
