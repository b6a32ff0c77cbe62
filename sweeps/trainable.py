"""What runs on a Ray worker: one trial after another in one process, each from the records it finds."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from sweeps import plugins, records
from sweeps.planning import PlannedTrial
from sweeps.spec import Checkpoints, Resources
from sweeps.stopping import is_settled, stop_of
from sweeps.trial import TrialRun

if TYPE_CHECKING:
    from sweeps.data import Dataset

# A report costs the driver about a millisecond: epochs that are shorter than this share one.
REPORT_SECONDS = 1.0


class ReplicatesTrainable(tune.Trainable):
    """A trial as Ray Tune runs it.

    The process is kept for the next trial (starting one costs seconds); what a lost worker had recorded or
    saved is not trained again, since each start asks the storage first.
    """

    def setup(  # type: ignore[override]
        self,
        config: Mapping[str, Any],
        *,
        sweep: str,
        trials: Sequence[PlannedTrial],
        datasets: Mapping[str, Dataset],
        resources: Resources,
        checkpoints: Checkpoints,
        saves: Mapping[str, Sequence[int]],
        judged: bool,
        modules: Sequence[str],
    ) -> None:
        """Keep what all trials share, and begin the first. Trials that are judged report each epoch."""
        plugins.load(modules)
        self._judged = judged
        self._sweep, self._trials, self._datasets = Path(sweep), trials, datasets
        self._resources, self._checkpoints, self._saves = resources, checkpoints, saves
        self._begin(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Begin another trial in the same process."""
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        planned = self._planned(config)
        self._run = TrialRun(
            planned,
            pending(self._sweep, planned),
            self._datasets[planned.fingerprint],
            threads=self._resources.threads,
            device=self._resources.device,
            most=self._resources.stack,
            sweep=self._sweep,
            node=ray.get_runtime_context().get_node_id(),
            checkpoints=self._checkpoints,
            fork_epochs=self._saves.get(planned.trial_id, ()),
        )
        self._last: dict[str, Any] = {"epoch": 0}

    def _planned(self, config: Mapping[str, Any]) -> PlannedTrial:
        if "trial_id" not in config:
            return self._trials[config["position"]]
        # An adaptive search has chosen it since this process was told of the plan.
        folder = records.trial_folder(self._sweep, config["trial_id"])
        return PlannedTrial.from_document(json.loads((folder / "trial.json").read_bytes()))

    def step(self) -> dict[str, Any]:
        """Train for about a second, at least one epoch; exactly one where a stopper decides after each."""
        until = time.monotonic() + (0 if self._judged else REPORT_SECONDS)
        self._stop_if_told()
        while (row := self._run.step()) is not None:
            self._last = row
            if time.monotonic() >= until:
                return {**row, "done": False}
        statuses = Counter(result.status.value for result in self._run.result.replicates)
        return {**self._last, "done": True, "statuses": dict(statuses)}

    def cleanup(self) -> None:
        """Save a trial that is interrupted."""
        self._run.save()

    def _stop_if_told(self) -> None:
        stop = stop_of(self._sweep, self._run.planned.trial_id) if self._judged else None
        if stop is not None and self._run.open() >= stop.epoch:
            self._run.stop(stop.reason)


def pending(sweep: Path, planned: PlannedTrial) -> list[Any]:
    """Replicates of a trial that are not settled."""
    return [r for r in planned.replicates if not is_settled(sweep, planned.trial_id, r.replicate_id)]
