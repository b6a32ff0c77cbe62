"""Why a launch ends before its plan does: a full disk, or a budget that is used up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ray import tune

from sweeps.spec import SweepSpec


class Ending(tune.Stopper):
    """Ends a launch in order when the disk is full or a budget is used up; running trials are saved.

    Attributes:
        why: A sentence, empty as long as there is no reason.
        is_full: Whether the disk is.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._budget, self._gpus = spec.budget, spec.resources.gpus
        self._begun = time.monotonic()
        self._running: dict[str, float] = {}
        self._gpu_seconds = 0.0
        self.why, self.is_full = "", False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Trials end themselves."""
        if result.get("full"):
            self.why, self.is_full = result["full"], True
        return False

    def begin(self, trial_id: str) -> None:
        """A trial uses its GPUs from now on."""
        self._running[trial_id] = time.monotonic()

    def finish(self, trial_id: str) -> None:
        """A trial uses no GPU any more."""
        self._gpu_seconds += self._gpus * (time.monotonic() - self._running.pop(trial_id, time.monotonic()))

    def stop_all(self) -> bool:
        """Whether the launch is to end."""
        if not self.why:
            self.why = next(self._used_up(), "")
        return bool(self.why)

    def _used_up(self) -> Iterator[str]:
        now = time.monotonic()
        gpus = self._gpu_seconds + self._gpus * sum(now - begun for begun in self._running.values())
        for name, used in (("max_hours", now - self._begun), ("max_gpu_hours", gpus)):
            most = getattr(self._budget, name)
            if most is not None and used >= 3600 * most:
                yield f"budget.{name}: {most:g} h are used up"
