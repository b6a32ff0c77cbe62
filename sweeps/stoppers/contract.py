"""What a stopper receives and answers; one is a function:

    @STOPPERS.register(version=1)
    def my_stopper(look, *, grace: Epochs = 1) -> str | None:
        ...

It is asked after each epoch of each trial that takes part, and answers with the reason to stop it, or None. All it
may rest on is in the look, which is made of what is recorded: so it keeps no state of its own, and a sweep that is
launched again after a crash decides as if nothing had happened. Twins and controls are never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from rmt.registry import Registry

Epochs = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Curve:
    """What is recorded of a trial, epoch by epoch from the first; larger is better whatever the mode.

    Attributes:
        scores: The objective's statistic over the units, its sign turned where less is better; -inf from the epoch
            on in which a replicate diverged, since such a trial ranks last.
        samples: Each unit's value, turned the same way, in the order of the plan's seeds; not finite where a
            replicate of it has none. A unit is a replicate or, where sources of chance are crossed, the mean over
            those of one initialisation.
    """

    scores: tuple[float, ...]
    samples: tuple[tuple[float, ...], ...]

    def __len__(self) -> int:
        return len(self.scores)

    def until(self, epoch: int) -> Curve:
        """The curve as it was after an epoch."""
        return Curve(self.scores[:epoch], self.samples[:epoch])


@dataclass(frozen=True)
class Look:
    """A trial that has trained to an epoch, and the others as far as they were recorded before that.

    Attributes:
        trial: Its name.
        curve: Up to and with this epoch.
        others: Of the other trials that take part, by name.
        epochs: Of its whole training.
        trials: Trials of the sweep that take part, those included that have not begun.
        sign: 1, or -1 where less is better.
    """

    trial: str
    curve: Curve
    others: Mapping[str, Curve]
    epochs: int
    trials: int
    sign: int = 1

    @property
    def epoch(self) -> int:
        """The last of its epochs so far."""
        return len(self.curve)

    @property
    def score(self) -> float:
        """At this epoch."""
        return self.curve.scores[-1]

    def scores_of_others(self, epoch: int) -> list[float]:
        """Scores at an epoch, of those that got there."""
        return [curve.scores[epoch - 1] for curve in self.others.values() if len(curve) >= epoch]

    def said(self, score: float) -> str:
        """A score as the metric's own value, for a person."""
        return f"{self.sign * score:.4g}" if abs(score) != float("inf") else "diverged"


STOPPERS: Registry[Callable[..., str | None]] = Registry("stopper")
