"""Runs the trials of a plan on Ray: the only module, with `order.py` and its worker side `trainable.py`, that
drives Ray Tune.

What happens to a trial that
- finishes, or diverges: its worker has written the records; the driver only counts.
- is stopped early: the driver has written the decision, which the worker finds before its next epoch; its records
  say `stopped` and why. Tune's schedulers are not asked: they forget their rungs with the driver (`stopping.py`).
- raises: the worker records its replicates as `failed` with the traceback; the sweep goes on.
- loses its worker or node: Ray starts it again, at most `limits.retries` times; it goes on from what is recorded
  and saved. When even that fails, the driver writes the `failed` records that nobody else is left to write.
  A node that loses the workers of several trials in a row gets no more of them (`placement.py`).
- is interrupted (Ctrl-C): it is saved where it is; launching again goes on from there.
- is chosen as the sweep goes: the search is asked for it when there is room, and told when it has ended.
- is one of a pack: they go through one process together, each as above. When the pack has lost its worker too
  often, it is dissolved, and each is trained alone, with retries of its own: one of them may be what kills it.
- forks from another: it is held back until that one has been there, or has ended.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune import Callback

from sweeps import records, storage
from sweeps.ending import Ending
from sweeps.environment import environment
from sweeps.errors import StorageUnusable
from sweeps.forks import Forks, Leftovers
from sweeps.nodes import Nodes
from sweeps.order import Suggestions, plan_order
from sweeps.packing import Pack
from sweeps.placement import Cordon, Whereabouts, error_of, last_line
from sweeps.planned import PlannedReplicate, PlannedTrial
from sweeps.progress import SweepProgress
from sweeps.result import ReplicateResult, record_of
from sweeps.search.adaptive import Search
from sweeps.spec import SweepSpec
from sweeps.spec_means import Resources
from sweeps.status import Status
from sweeps.stopping import Judge
from sweeps.trainable import ReplicatesTrainable, pending
from sweeps.wording import times

if TYPE_CHECKING:
    from sweeps.data import Dataset

Show = Callable[[SweepProgress], None]


class _Watcher(Callback):
    """Passes what Tune sees on to the progress.

    Attributes:
        lost: By trial, why its worker was lost for the last time.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        progress: SweepProgress,
        show: Show,
        leftovers: Leftovers,
        judge: Judge | None,
        end: Ending,
    ) -> None:
        self._packs, self._progress, self._show = packs, progress, show
        self._leftovers, self._judge, self._end = leftovers, judge, end
        self.lost: dict[str, str] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        for planned in self._planned(trial):
            self._progress.running.setdefault(planned.trial_id, 0)
        self._end.begin(trial.trial_id)
        self._show(self._progress)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        if result.get("full"):
            return
        if result.get("done"):
            self._end.finish(trial.trial_id)
        packed = self._planned(trial)
        for news in result["trials"]:
            self._tell(packed[news["place"]], news)
        self._show(self._progress)

    def _tell(self, planned: PlannedTrial, news: Mapping[str, Any]) -> None:
        """Pass on what one trial reports."""
        if news["done"]:
            statuses = Counter(news["statuses"])
            self._progress.end(planned, statuses, news)
            if all(Status(status).is_final for status in statuses):
                self._leftovers.end(planned)
        else:
            self._progress.report(planned, news)
            if self._judge is not None:
                # Tune lets the worker go on only after this: it finds the decision before its next epoch.
                self._judge.report(planned)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._end.finish(trial.trial_id)
        why = f"its worker was lost {times(trial.num_failures)}: {last_line(error_of(trial))}"
        packed = self._planned(trial)
        for planned in packed:
            if len(packed) > 1:  # each is trained again, alone
                self._progress.running.pop(planned.trial_id, None)
            else:
                self.lost[planned.trial_id] = why
                self._progress.end(planned, Counter({Status.FAILED.value: len(planned.replicates)}), {})
        self._show(self._progress)

    def _planned(self, trial: Any) -> Pack:
        return _planned(self._packs, trial)


def _planned(packs: Sequence[Pack], trial: Any) -> Pack:
    """The trials that one of Tune's trials stands for."""
    pack = packs[trial.config["position"]]
    return (pack[trial.config["alone"]],) if "alone" in trial.config else pack


def _dirname(trial: Any) -> str:
    """Of one of Tune's trials."""
    return "-".join(map(str, trial.config.values()))


def _name(pack: Pack) -> str:
    return pack[0].trial_id if len(pack) == 1 else f"{pack[0].trial_id}+{len(pack) - 1}"


def train(
    packs: list[Pack],
    sweep: Path,
    datasets: dict[str, Dataset],
    spec: SweepSpec,
    forks: Forks,
    progress: SweepProgress,
    show: Show,
    scratch: Path,
    judge: Judge | None = None,
    search: Search | None = None,
    *,
    only: frozenset[str] | None = None,
) -> bool:
    """Train trials on the Ray that this process is connected to.

    Args:
        packs: In the order to begin them; the trials of one go through one process together.
        sweep: The sweep's folder, on a path that every node sees.
        datasets: By fingerprint; put once into the object store.
        spec: The sweep's.
        forks: Which trials save their state for which others.
        progress: Kept up to date.
        show: Called after every change of it.
        scratch: For Tune's own files.
        judge: Decides after each epoch which trials stop.
        search: Chooses the trials as it goes, which are then added to `packs`.
        only: Replicates to train, of those that are not settled; None for all of them.

    Returns:
        Whether the run came to its end; false after an interrupt, or when a budget is used up (`progress.why`).

    Raises:
        StorageUnusable: There is no room for records, or their store does not answer.
    """
    launched, end = int(time.time() * 1000), Ending(spec)
    trainable = tune.with_parameters(
        ReplicatesTrainable,
        sweep=storage.for_workers(sweep),
        packs=list(packs),
        datasets=datasets,
        spec=spec,
        launched=launched,
        saves=forks.saves,
        judged=judge is not None,
        only=only,
    )
    cordon = Cordon(
        Nodes(sweep, spec.limits.node_failures), spec.resources, lambda trial: _name(_planned(packs, trial))
    )
    known = [trial for pack in packs for trial in pack]
    watcher = _Watcher(packs, progress, show, Leftovers(sweep, known), judge, end)
    room = spec.design.options.get("at_once") or room_for(spec.resources)
    order = plan_order(packs, forks) if search is None else Suggestions(search, packs, room, progress)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": spec.resources.cpus, "gpu": spec.resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=order,
            scheduler=cordon,
            num_samples=sys.maxsize,  # the order says itself when it is over
            reuse_actors=True,
            # For each trial Tune pickles what creates names: nothing that knows the plan.
            trial_dirname_creator=_dirname,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            callbacks=[watcher, Whereabouts(cordon)],
            stop=end,
            failure_config=tune.FailureConfig(max_failures=spec.limits.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # records are the state
            verbose=0,
        ),
    )
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is in the records and on our own lines
    tuner.fit()
    storage.refresh(sweep)
    if end.is_full:
        raise StorageUnusable(end.why)
    progress.why = end.why
    trials = [trial for pack in packs for trial in pack]
    complete = len(progress.outcomes) == len(trials) and (search is None or search.is_over)
    if complete:
        reconcile(trials, sweep, watcher.lost, since=launched, only=only)
    return complete


def room_for(resources: Resources) -> int:
    """Trials that the connected Ray has room for at once."""
    there = ray.cluster_resources()
    wanted = (("CPU", resources.cpus), ("GPU", resources.gpus))
    return max(1, min(int(there.get(name, 0) / amount) for name, amount in wanted if amount))


def reconcile(
    trials: Sequence[PlannedTrial],
    sweep: Path,
    lost: Mapping[str, str],
    *,
    since: int,
    only: frozenset[str] | None = None,
) -> int:
    """Write the `failed` records of replicates whose workers could not; returns how many.

    Args:
        trials: All trials of the launch.
        sweep: The sweep's folder.
        lost: By trial, why its worker was lost.
        since: When the launch began, in milliseconds since 1970.
        only: Replicates that the launch is limited to.
    """
    count = 0
    for trial in trials:
        for replicate in pending(sweep, trial, since=since, only=only):
            folder = records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id)
            if records.status_of(folder) is None:
                _record_lost(folder, trial, replicate, sweep.name, lost.get(trial.trial_id, "its worker was lost"))
                count += 1
    return count


def _record_lost(folder: Path, trial: PlannedTrial, replicate: PlannedReplicate, sweep: str, why: str) -> None:
    now = int(time.time() * 1000)
    history = tuple(records.read_history(folder))
    result = ReplicateResult(replicate, Status.FAILED, why, history, None, None, now, now)
    record = record_of(trial, result, sweep=sweep, environment=environment())
    records.Recorder(folder).finish(record, {})
