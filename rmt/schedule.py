"""When layers are cut and how hard."""

from __future__ import annotations

from dataclasses import dataclass

from rmt.errors import InvalidOption


@dataclass(frozen=True)
class Schedule:
    """Cuts every `every` epochs, the last one before the last epoch, so that training ends the algorithm.

    Attributes:
        every: Epochs between cuts, at least 1.
        epochs: Epochs of the whole training, at least 1.
    """

    every: int
    epochs: int

    def __post_init__(self) -> None:
        for name, value in (("every", self.every), ("epochs", self.epochs)):
            if value < 1:
                raise InvalidOption(f"{name} is {value}; it must be at least 1")

    @property
    def epochs_due(self) -> tuple[int, ...]:
        """Multiples of `every` strictly before the last epoch."""
        return tuple(range(self.every, self.epochs, self.every))

    def progress(self, epoch: int) -> float:
        """Linear ramp over the due epochs: 0 at the start, 1 at the last cut."""
        if not self.epochs_due:
            return 0.0
        return min(1.0, max(0.0, epoch / self.epochs_due[-1]))

    def strength(self, epoch: int, aggressiveness: float, horizon: int | None = None) -> float:
        """Aggressiveness reached at `epoch`; with a horizon T, 1 − max(0, 1 − epoch / T) instead of the ramp."""
        if horizon is not None:
            return min(1.0, epoch / horizon)
        return aggressiveness * self.progress(epoch)
