"""What runs on a Ray worker: one pack of trials after another in one process, each from the records it finds."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from sweeps import forks, layout, plugins, records, storage
from sweeps.errors import StorageError, StorageUnusable
from sweeps.pack_run import PackRun, Packs
from sweeps.planned import PlannedReplicate, PlannedTrial
from sweeps.spec import SweepSpec
from sweeps.status import Status
from sweeps.stopping import STOP, is_settled, stop_of
from sweeps.trial import TrialRun
from sweeps.watchdog import Watchdog

if TYPE_CHECKING:
    from sweeps.data import Dataset

# A report costs the driver about a millisecond: epochs that are shorter than this share one.
REPORT_SECONDS = 1.0


class ReplicatesTrainable(tune.Trainable):
    """A pack of trials, most often of one, as Ray Tune runs it.

    The process is kept for the next pack (starting one costs seconds); what a lost worker had recorded or
    saved is not trained again, since each start asks the storage first.
    """

    def setup(  # type: ignore[override]
        self,
        config: Mapping[str, Any],
        *,
        sweep: str,
        packs: Sequence[Sequence[PlannedTrial]],
        datasets: Mapping[str, Dataset],
        spec: SweepSpec,
        launched: int,
        saves: Mapping[str, Sequence[int]],
        judged: bool,
        only: frozenset[str] | None,
    ) -> None:
        """Keep what all packs share, and begin the first. Trials that are judged report each epoch."""
        plugins.load(spec.plugins)
        from sweeps.training_memory import take_share

        take_share(spec.resources.gpus)
        _load_training()
        self._judged, self._only = judged, only
        self._sweep, self._packs, self._datasets = storage.on_worker(sweep), packs, datasets
        self._spec, self._launched, self._saves = spec, launched, saves
        self._watchdog = Watchdog(spec.limits.trial_minutes)
        self._begin(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Begin another pack in the same process."""
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        self._run: PackRun | None = None
        self._full = ""
        try:
            self._folders = self._refreshed(config)
            trials = self._planned(config)
            if "alone" in config:
                layout.unpack(self._folders[0])
            self._last: dict[int, dict[str, Any]] = {place: {"epoch": 0} for place in range(len(trials))}
            saves = (self._saves.get(trial.trial_id, ()) for trial in trials)
            self._last_save = max((epoch for epochs in saves for epoch in epochs), default=0)
            packs = Packs()
            self._already = {place: self._ended_before(planned) for place, planned in enumerate(trials)}
            self._run = PackRun([self._trial(planned, trials, packs) for planned in trials])
        except StorageUnusable as error:
            self._full = str(error)

    def _refreshed(self, config: Mapping[str, Any]) -> list[Path]:
        """The folders of the pack's trials, as others have left them."""
        names = [config["trial_id"]] if "trial_id" in config else [one.trial_id for one in self._planned(config)]
        folders = [records.trial_folder(self._sweep, name) for name in names]
        for folder in folders:
            storage.refresh(folder)
        return folders

    def _trial(self, planned: PlannedTrial, beside: Sequence[PlannedTrial], packs: Packs) -> TrialRun:
        resources = self._spec.resources
        return TrialRun(
            planned,
            pending(self._sweep, planned, since=self._launched, only=self._only),
            self._datasets[planned.fingerprint],
            threads=resources.threads,
            device=resources.device,
            most=resources.stack,
            sweep=self._sweep,
            node=ray.get_runtime_context().get_node_id(),
            checkpoints=self._spec.checkpoints,
            fork_epochs=self._saves.get(planned.trial_id, ()),
            pack=[trial.trial_id for trial in beside] if len(beside) > 1 else (),
            packs=packs,
            share=1 / len(beside),
        )

    def _ended_before(self, planned: PlannedTrial) -> Counter[str]:
        """How replicates of a trial ended in this launch before this process: its worker was lost after them."""
        found: Counter[str] = Counter()
        for name in (one.replicate_id for one in planned.replicates):
            folder = records.replicate_folder(self._sweep, planned.trial_id, name)
            if records.status_of(folder) is None:
                continue
            record = records.read_record(folder)
            if record is not None and record["ended"] >= self._launched:
                found[record["status"]] += 1
        return found

    def _planned(self, config: Mapping[str, Any]) -> Sequence[PlannedTrial]:
        if "trial_id" not in config:
            trials = self._packs[config["position"]]
            return [trials[config["alone"]]] if "alone" in config else trials
        # An adaptive search has chosen it since this process was told of the plan.
        return [PlannedTrial.from_document(json.loads((self._folders[0] / "trial.json").read_bytes()))]

    def step(self) -> dict[str, Any]:
        """Train for about a second, at least one epoch; exactly one where a stopper decides after each.

        Returns:
            The epoch of the trial that is furthest behind, whether all have ended, and in `trials` what is new of
            each, by its place in the pack. A full disk, or a store that does not answer any more, ends them
            without a record, and is reported so that the driver ends the sweep.
        """
        if self._run is not None:
            try:
                return self._train(self._run)
            except StorageUnusable as error:
                self._full = str(error)
                self._watchdog.rest()
        return {"epoch": 0, "done": True, "trials": [], "full": self._full}

    def _train(self, run: PackRun) -> dict[str, Any]:
        self._watchdog.watch(run.runs)  # from here: what came before, starting a process say, was no training
        before = run.epoch
        until = time.monotonic() + (0 if self._judged else REPORT_SECONDS)
        news: dict[int, dict[str, Any]] = {}
        for one in run.runs:
            self._stop_if_told(one)
        while rows := run.step():
            news |= {place: self._news(place, row) for place, row in rows.items()}
            self._watchdog.end_if_over(run.runs)
            if time.monotonic() >= until:
                if self._judged or before < self._last_save or any(one["done"] for one in news.values()):
                    # Before the driver judges by it, counts it, or lets another trial begin from it.
                    storage.settle(self._sweep)
                return self._report(run, news, done=False)
        self._watchdog.rest()
        storage.let_go(*self._folders, self._sweep / forks.FOLDER)
        return self._report(run, news, done=True)

    def _news(self, place: int, row: dict[str, Any] | None) -> dict[str, Any]:
        """What there is to report of one trial: where it is, or how its replicates ended."""
        assert self._run is not None  # noqa: S101 - it trains
        if row is not None:
            self._last[place] = self._told(row)
            return {**self._last[place], "place": place, "done": False}
        ended = (result.status.value for result in self._run.runs[place].result.replicates)
        statuses = self._already[place] + Counter(ended)
        return {**self._last[place], "place": place, "done": True, "statuses": dict(statuses)}

    @staticmethod
    def _report(run: PackRun, news: Mapping[int, dict[str, Any]], *, done: bool) -> dict[str, Any]:
        return {"epoch": run.epoch, "done": done, "trials": list(news.values())}

    def _told(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What the driver needs to know of an epoch: of each number it is told, Tune keeps kilobytes a trial."""
        objective = self._spec.objective
        names = ("epoch", f"{objective.metric}.{objective.statistic}")
        return {name: row[name] for name in names if name in row}

    def cleanup(self) -> None:
        """Save what is interrupted."""
        self._watchdog.rest()
        if self._run is not None:
            self._run.save()
            with suppress(StorageError):  # what is not there is trained again
                storage.settle(self._sweep)

    def _stop_if_told(self, run: TrialRun) -> None:
        if not self._judged:
            return
        storage.refresh_file(records.trial_folder(self._sweep, run.planned.trial_id) / STOP)
        stop = stop_of(self._sweep, run.planned.trial_id)
        if stop is not None and run.open() >= stop.epoch:
            run.stop(stop.reason)


def _load_training() -> None:
    """Import now what a trial would when it opens: seconds on a busy machine, of which its limit says nothing."""
    import_module("sweeps.training")


def pending(
    sweep: Path, planned: PlannedTrial, *, since: int, only: frozenset[str] | None = None
) -> list[PlannedReplicate]:
    """Replicates of a trial that are not settled, and have not failed `since` (ms since 1970): once a launch.

    Args:
        sweep: The sweep's folder.
        planned: The trial.
        since: Milliseconds since 1970.
        only: Leave out all but these; None for none.
    """

    def is_open(name: str) -> bool:
        if only is not None and name not in only:
            return False
        if is_settled(sweep, planned.trial_id, name):
            return False
        folder = records.replicate_folder(sweep, planned.trial_id, name)
        record = records.read_record(folder) if records.status_of(folder) is Status.FAILED else None
        return record is None or record["ended"] < since

    return [replicate for replicate in planned.replicates if is_open(replicate.replicate_id)]
