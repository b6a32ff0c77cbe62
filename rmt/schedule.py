"""When layers are cut and how hard."""

from __future__ import annotations

from dataclasses import dataclass

from rmt.errors import InvalidOption


@dataclass(frozen=True)
class Schedule:
    """Cuts every `every` epochs from `start` on, all before the last epoch, so that training has the last word.

    Attributes:
        every: Epochs between cuts, at least 1.
        epochs: Epochs of the whole training, at least 1.
        start: Epoch of the first cut, at least 1; `every` when not given.
    """

    every: int
    epochs: int
    start: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("every", self.every), ("epochs", self.epochs), ("start", self.first)):
            if value < 1:
                raise InvalidOption(f"{name} is {value}; it must be at least 1")

    @property
    def first(self) -> int:
        """Epoch of the first cut, if it comes before the last epoch."""
        return self.every if self.start is None else self.start

    @property
    def epochs_due(self) -> tuple[int, ...]:
        """Every `every` epochs from the first on, strictly before the last epoch."""
        return tuple(range(self.first, self.epochs, self.every))

    def progress(self, epoch: int) -> float:
        """Linear ramp over the due epochs: 0 one interval before the first cut, 1 at the last."""
        if not self.epochs_due:
            return 0.0
        zero = self.first - self.every
        return min(1.0, max(0.0, (epoch - zero) / (self.epochs_due[-1] - zero)))

    def strength(self, epoch: int, aggressiveness: float, horizon: int | None = None) -> float:
        """Aggressiveness reached at `epoch`; with a horizon T, 1 − max(0, 1 − epoch / T) instead of the ramp."""
        if horizon is not None:
            return min(1.0, epoch / horizon)
        return aggressiveness * self.progress(epoch)
