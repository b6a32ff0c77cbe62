"""What Ray Tune is given to train next: the packs of a plan as they become ready, or what a search chooses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher

from sweeps.forks import Forks
from sweeps.packing import Pack
from sweeps.planned import PlannedTrial
from sweeps.progress import SweepProgress
from sweeps.search.adaptive import Search


class PlanOrder(Searcher):
    """Hands out the packs of the plan in their order, those that wait for others when these are far enough.

    A pack that others wait for is handed out before them and waits for none of them, so the wait has an end: it
    reaches the epoch, or it ends, however it does. Of one that ends in an error the trials are handed out again,
    each alone.

    Args:
        waits: For each pack, by position in the plan: the positions it waits for, each with the epoch to reach.
        sizes: Trials of each pack; one each when not given.
    """

    def __init__(self, waits: Sequence[Mapping[int, int]], sizes: Sequence[int] = ()) -> None:
        super().__init__(metric="epoch", mode="max")
        self._sizes = dict(enumerate(sizes))
        self._alone: deque[tuple[int, int]] = deque()
        self._packed: set[str] = set()
        self._ready = deque(position for position, missing in enumerate(waits) if not missing)
        self._missing = {position: dict(missing) for position, missing in enumerate(waits) if missing}
        self._waiting: dict[int, set[int]] = {}
        for position, missing in self._missing.items():
            for other in missing:
                self._waiting.setdefault(other, set()).add(position)
        self._positions: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next pack; None, which Tune asks again after, while all that are left have to wait."""
        if self._alone:
            position, place = self._alone.popleft()
            self._positions[trial_id] = position
            return {"position": position, "alone": place}
        if not self._ready:
            return None if self._missing or self._packed else Searcher.FINISHED
        position = self._positions[trial_id] = self._ready.popleft()
        if self._sizes.get(position, 1) > 1:
            self._packed.add(trial_id)  # it may come back in pieces
        return {"position": position}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """A pack has come to an epoch."""
        self._reach(self._positions[trial_id], result["epoch"])

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """A pack has ended: what waits for it waits no more, whatever it left behind."""
        if trial_id in self._packed:
            self._packed.discard(trial_id)
            position = self._positions[trial_id]
            self._alone.extend((position, place) for place in range(self._sizes[position] if error else 0))
        self._reach(self._positions[trial_id], math.inf)

    def _reach(self, position: int, epoch: float) -> None:
        for waiting in sorted(self._waiting.get(position, ())):
            if self._missing[waiting][position] > epoch:
                continue
            self._waiting[position].discard(waiting)
            del self._missing[waiting][position]
            if not self._missing[waiting]:
                del self._missing[waiting]
                self._ready.append(waiting)

    def save(self, checkpoint_path: str) -> None:
        """Records are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Records are the state."""


class Suggestions(Searcher):
    """Hands out the trials of an adaptive search, a new one when there is room for it and not before.

    So each is chosen from all that is known by then. Ray keeps the one process that has become free in between.

    Args:
        search: Chooses them.
        packs: Grows by each one, as a pack of its own.
        at_once: How many are under way at a time.
        progress: Told when they are more than was thought, twins at the end.
    """

    def __init__(self, search: Search, packs: list[Pack], at_once: int, progress: SweepProgress) -> None:
        super().__init__(metric="epoch", mode="max")
        self._search, self._packs, self._at_once, self._progress = search, packs, at_once, progress
        self._running: dict[str, PlannedTrial] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None, which Tune asks again after, while there is no room or it is not known yet."""
        if len(self._running) >= self._at_once:
            return None
        planned = self._search.next()
        if planned is None:
            return None if self._running else Searcher.FINISHED
        self._running[trial_id] = planned
        self._packs.append((planned,))
        self._progress.expect(len(self._packs), sum(len(trial.replicates) for [trial] in self._packs))
        return {"position": len(self._packs) - 1, "trial_id": planned.trial_id}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """A trial has ended: its records say what the search learns from it. Tune may say so twice."""
        planned = self._running.pop(trial_id, None)
        if planned is not None:
            self._search.end(planned)

    def save(self, checkpoint_path: str) -> None:
        """The log of the search is its state."""

    def restore(self, checkpoint_path: str) -> None:
        """The log of the search is its state."""


def plan_order(packs: Sequence[Pack], forks: Forks) -> PlanOrder:
    """The order of packs of which some wait for the states of others."""
    position_of = {trial.trial_id: position for position, pack in enumerate(packs) for trial in pack}
    waits: list[dict[int, int]] = [{} for _ in packs]
    for position, pack in enumerate(packs):
        for trial in pack:
            for other, epoch in forks.waits.get(trial.trial_id, {}).items():
                first = position_of[other]
                waits[position][first] = max(epoch, waits[position].get(first, 0))
    return PlanOrder(waits, [len(pack) for pack in packs])
