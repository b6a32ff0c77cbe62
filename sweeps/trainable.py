"""What runs on a Ray worker: one pack of trials after another in one process, each from the records it finds."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from sweeps import layout, plugins, records
from sweeps.errors import StorageFull
from sweeps.pack_run import PackRun, Packs
from sweeps.planning import PlannedReplicate, PlannedTrial
from sweeps.spec import SweepSpec
from sweeps.status import Status
from sweeps.stopping import is_settled, stop_of
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
        self._judged, self._only = judged, only
        self._sweep, self._packs, self._datasets = Path(sweep), packs, datasets
        self._spec, self._launched, self._saves = spec, launched, saves
        self._watchdog = Watchdog(spec.limits.trial_minutes)
        self._begin(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Begin another pack in the same process."""
        self._begin(new_config)
        return True

    def _begin(self, config: Mapping[str, Any]) -> None:
        trials = self._planned(config)
        if "alone" in config:
            layout.unpack(records.trial_folder(self._sweep, trials[0].trial_id))
        self._run: PackRun | None = None
        self._last: dict[int, dict[str, Any]] = {place: {"epoch": 0} for place in range(len(trials))}
        self._full = ""
        try:
            packs = Packs()
            self._run = PackRun([self._trial(planned, trials, packs) for planned in trials])
            self._watchdog.watch(self._run.runs)
        except StorageFull as error:
            self._full = str(error)

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

    def _planned(self, config: Mapping[str, Any]) -> Sequence[PlannedTrial]:
        if "trial_id" not in config:
            trials = self._packs[config["position"]]
            return [trials[config["alone"]]] if "alone" in config else trials
        # An adaptive search has chosen it since this process was told of the plan.
        folder = records.trial_folder(self._sweep, config["trial_id"])
        return [PlannedTrial.from_document(json.loads((folder / "trial.json").read_bytes()))]

    def step(self) -> dict[str, Any]:
        """Train for about a second, at least one epoch; exactly one where a stopper decides after each.

        Returns:
            The epoch of the trial that is furthest behind, whether all have ended, and in `trials` what is new of
            each, by its place in the pack. A full disk ends them without a record, and is reported so that the
            driver ends the sweep.
        """
        if self._run is not None:
            try:
                return self._train(self._run)
            except StorageFull as error:
                self._full = str(error)
                self._watchdog.rest()
        return {"epoch": 0, "done": True, "trials": [], "full": self._full}

    def _train(self, run: PackRun) -> dict[str, Any]:
        until = time.monotonic() + (0 if self._judged else REPORT_SECONDS)
        news: dict[int, dict[str, Any]] = {}
        for one in run.runs:
            self._stop_if_told(one)
        while rows := run.step():
            news |= {place: self._news(place, row) for place, row in rows.items()}
            self._watchdog.end_if_over(run.runs)
            if time.monotonic() >= until:
                return self._report(run, news, done=False)
        self._watchdog.rest()
        return self._report(run, news, done=True)

    def _news(self, place: int, row: dict[str, Any] | None) -> dict[str, Any]:
        """What there is to report of one trial: where it is, or how its replicates ended."""
        assert self._run is not None  # noqa: S101 - it trains
        if row is not None:
            self._last[place] = self._told(row)
            return {**self._last[place], "place": place, "done": False}
        statuses = Counter(result.status.value for result in self._run.runs[place].result.replicates)
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

    def _stop_if_told(self, run: TrialRun) -> None:
        stop = stop_of(self._sweep, run.planned.trial_id) if self._judged else None
        if stop is not None and run.open() >= stop.epoch:
            run.stop(stop.reason)


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
