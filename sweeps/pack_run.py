"""Several trials in one process, side by side: a pack. Each keeps its own layout, states, records and end.

What makes it worth while is that their stacks are computed as one (`training_epoch.Beside`); which trials may be,
and whether it is faster, is decided before (`packing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweeps import layout
from sweeps.seeds import Seeds

if TYPE_CHECKING:
    from sweeps.training_epoch import Beside
    from sweeps.trial import TrialRun


class Packs:
    """What the stacks of a process are computed beside: those of the same pack and the same seeds."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, ...], tuple[Seeds, ...]], Beside] = {}

    def of(self, stack: layout.Stack) -> Beside | None:
        """What a stack takes part in; None when it is computed by itself."""
        if len(stack.pack) < 2:
            return None
        from sweeps.training_epoch import Beside

        key = stack.pack, stack.seeds
        if key not in self._known:
            self._known[key] = Beside(dict.fromkeys(stack.pack, len(stack.seeds)))
        return self._known[key]


class PackRun:
    """Trials on their way, epoch by epoch: those that are behind first.

    Args:
        runs: At least one.
    """

    def __init__(self, runs: Sequence[TrialRun]) -> None:
        self.runs = list(runs)
        self._ended: set[int] = set()

    @property
    def epoch(self) -> int:
        """Epochs that all trials which still train have done; the last one when none does."""
        going = [run.epoch for place, run in enumerate(self.runs) if place not in self._ended]
        return min(going, default=max(run.epoch for run in self.runs))

    def step(self) -> dict[int, dict[str, Any] | None]:
        """Train one epoch; by trial what there is to report, None once where it has ended. Empty at the end."""
        going = {place: run for place, run in enumerate(self.runs) if place not in self._ended}
        at = {place: run.open() for place, run in going.items()}  # all of them, before any trains
        rows = {place: run.step() for place, run in going.items() if at[place] == min(at.values())}
        self._ended |= {place for place, row in rows.items() if row is None}
        return rows

    def save(self) -> None:
        """Save what still trains: the process is about to end."""
        for run in self.runs:
            run.save()
