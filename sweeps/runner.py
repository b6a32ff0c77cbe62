"""Runs the trials of a plan on Ray: the only module, with its worker side `trainable.py`, that drives Ray Tune.

What happens to a trial that
- finishes, or diverges: its worker has written the records; the driver only counts.
- raises: the worker records its replicates as `failed` with the traceback; the sweep goes on.
- loses its worker or node: Ray starts it again, at most `RETRIES` times; it goes on from what is recorded. When
  even that fails, the driver writes the `failed` records that nobody else is left to write.
- is interrupted (Ctrl-C): what is recorded stays; launching again trains the rest.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune import Callback
from ray.tune.search import Searcher

from sweeps import records
from sweeps.environment import environment
from sweeps.planning import PlannedReplicate, PlannedTrial
from sweeps.progress import SweepProgress
from sweeps.result import ReplicateResult, record_of
from sweeps.spec import Resources
from sweeps.status import Status
from sweeps.trainable import ReplicatesTrainable, pending

if TYPE_CHECKING:
    from sweeps.data import Dataset

RETRIES = 3
Show = Callable[[SweepProgress], None]


class _PlanOrder(Searcher):
    """Hands out the trials of the plan in their order."""

    def __init__(self, count: int) -> None:
        super().__init__(metric="epoch", mode="max")
        self._positions = iter(range(count))

    def suggest(self, trial_id: str) -> Any:
        del trial_id
        position = next(self._positions, None)
        return Searcher.FINISHED if position is None else {"position": position}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The plan is explicit: nothing is learnt from a result."""

    def save(self, checkpoint_path: str) -> None:
        """Records are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Records are the state."""


class _Watcher(Callback):
    """Passes what Tune sees on to the progress."""

    def __init__(self, trials: Sequence[PlannedTrial], progress: SweepProgress, show: Show) -> None:
        self._trials, self._progress, self._show = trials, progress, show

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._progress.running.setdefault(self._planned(trial).trial_id, 0)
        self._show(self._progress)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        if result.get("done"):
            self._progress.end(self._planned(trial), Counter(result["statuses"]), result)
        else:
            self._progress.report(self._planned(trial), result)
        self._show(self._progress)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        planned = self._planned(trial)
        self._progress.end(planned, Counter({Status.FAILED.value: len(planned.replicates)}), {})
        self._show(self._progress)

    def _planned(self, trial: Any) -> PlannedTrial:
        return self._trials[trial.config["position"]]


def train(
    trials: Sequence[PlannedTrial],
    sweep: Path,
    datasets: dict[str, Dataset],
    resources: Resources,
    progress: SweepProgress,
    show: Show,
    scratch: Path,
) -> bool:
    """Train trials on the Ray that this process is connected to.

    Args:
        trials: In the order to begin them.
        sweep: The sweep's folder, on a path that every node sees.
        datasets: By fingerprint; put once into the object store.
        resources: Of one trial.
        progress: Kept up to date.
        show: Called after every change of it.
        scratch: For Tune's own files.

    Returns:
        Whether the run came to its end; false after an interrupt.
    """
    trainable = tune.with_parameters(
        ReplicatesTrainable,
        sweep=str(sweep),
        trials=list(trials),
        datasets=datasets,
        threads=max(1, int(resources.cpus)),
        device="cuda" if resources.gpus else "cpu",
        most=resources.stack,
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=_PlanOrder(len(trials)),
            num_samples=len(trials),
            reuse_actors=True,
            trial_name_creator=lambda trial: trials[trial.config["position"]].trial_id,
            trial_dirname_creator=lambda trial: str(trial.config["position"]),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            callbacks=[_Watcher(trials, progress, show)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # records are the state
            verbose=0,
        ),
    )
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is in the records and on our own lines
    results = tuner.fit()
    complete = len(progress.outcomes) == len(trials)
    if complete:
        reconcile(trials, sweep, "; ".join(map(_first_line, results.errors)))
    return complete


def reconcile(trials: Sequence[PlannedTrial], sweep: Path, why: str) -> int:
    """Write the `failed` records of replicates whose workers could not; returns how many."""
    count = 0
    for trial in trials:
        for replicate in pending(sweep, trial):
            folder = records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id)
            if records.status_of(folder) is None:
                _record_lost(folder, trial, replicate, sweep.name, why)
                count += 1
    return count


def _record_lost(folder: Path, trial: PlannedTrial, replicate: PlannedReplicate, sweep: str, why: str) -> None:
    now = int(time.time() * 1000)
    history = tuple(records.read_history(folder))
    reason = f"its worker was lost {RETRIES + 1} times: {why}"
    result = ReplicateResult(replicate, Status.FAILED, reason, history, None, None, now, now)
    record = record_of(trial, result, sweep=sweep, environment=environment())
    records.Recorder(folder).finish(record, {})


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
