"""Passes over a sweep's folder that bring MLflow up to it, whatever fails in between.

The files are the only input and hold everything, so nothing is queued: a pass that fails is made again. After a
failure the runs concerned are looked up anew, because the request that failed may have been carried out.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from sweeps import storage
from sweeps.errors import StorageError
from sweeps.tracking import lag as lags
from sweeps.tracking import source
from sweeps.tracking.client import Client, Refused, Unavailable
from sweeps.tracking.gallery import hang
from sweeps.tracking.lag import Lag
from sweeps.tracking.sweep_run import SweepRun
from sweeps.tracking.tree import Tree, open_tree
from sweeps.tracking.trial_run import TrialRun

log = logging.getLogger(__name__)

TELL_SECONDS = 5.0  # from one telling of the lag to the next, within a pass that takes longer


class Projection:
    """One sweep's way to one MLflow store.

    Args:
        sweep: The sweep's folder; its name is the sweep's.
        connect: Opens the store; called again after a failure.
        artifacts: Folder for artifacts; None leaves it to the server.
    """

    def __init__(self, sweep: Path, connect: Callable[[], Client], artifacts: Path | None) -> None:
        self.folder = sweep
        self._connect = connect
        self._artifacts = artifacts
        self._tree: Tree | None = None
        self._sweep_run = SweepRun(sweep)
        self._trials: dict[str, TrialRun] = {}
        self._plan = source.read_plan(sweep)
        self._plan_seen: source.Signature | None = None
        self._refused: dict[str, tuple[source.Signature | None, str]] = {}

    def run_once(
        self,
        *,
        until: Callable[[], bool] = lambda: False,
        patience: float = 0.0,
        tell: Callable[[Lag], None] | None = None,
        tell_every: float = TELL_SECONDS,
    ) -> Lag:
        """Make one pass.

        Args:
            until: Asked between trials; True ends the pass early.
            patience: Seconds for which further epochs may wait, of all but one of a trial's replicates.
            tell: Given the lag while the pass goes on, so that a long one does not leave an old figure standing.
            tell_every: Seconds from one telling to the next.

        Returns:
            What is still to be projected, with the reason if the store is the cause.
        """
        reason, told = "", time.monotonic()
        try:
            storage.refresh(self.folder)
            tree = self._open()
            for _ in self._pass(tree, until, patience):
                if tell is not None and time.monotonic() - told >= tell_every:
                    tell(self._lag(""))
                    told = time.monotonic()
        except StorageError as error:  # of a bucket that does not answer
            reason = str(error)
        except Unavailable as error:
            self._tree = None
            reason = str(error)
        except Refused as error:  # the experiment or the sweep's run: deleted meanwhile, or not ours to write
            self.forget()
            reason = str(error)
        return self._lag(reason)

    def forget(self) -> None:
        """Look everything up again: what was known of the store is not true any more."""
        self._tree, self._sweep_run = None, SweepRun(self.folder)
        for trial in self._trials.values():
            trial.forget()

    def _open(self) -> Tree:
        if self._tree is None:
            owner = lags.identity(self.folder)
            tree = open_tree(self._connect(), self.folder.name, owner, self._artifacts)
            if any(trial.run is None for trial in self._begun()):
                tree.list_trials()
            self._tree = tree
        found = source.signature(self.folder / source.PLAN)
        if found != self._plan_seen:
            self._plan, self._plan_seen = source.read_plan(self.folder), found
        self._tree = replace(self._tree, root=self._sweep_run.project(self._tree, self._plan))
        return self._tree

    def _pass(self, tree: Tree, until: Callable[[], bool], patience: float) -> Iterator[TrialRun]:
        """Project what is due, trial by trial."""
        for trial in self._begun():
            if until():
                return
            news = trial.due(patience)
            known = self._refused.get(trial.identity)
            if not (news or trial.is_behind) or (known and known[0] == source.signature(trial.folder)):
                continue
            try:
                trial.project(tree, self._plan, news)
                self._refused.pop(trial.identity, None)
            except Unavailable:
                trial.doubt()
                if not tree.client.answers():
                    raise
                log.warning("trial %s failed, the server answers; trying it again later", trial.identity)
            except Refused as error:
                self._take_refusal(tree, trial, error)
            yield trial
        tree.listed.clear()  # a pass that was cut short goes on with it; what is found later may have changed

    def _take_refusal(self, tree: Tree, trial: TrialRun, error: Refused) -> None:
        """Try a refused trial once more from the beginning: its run may have been deleted by somebody."""
        trial.forget()
        found = tree.client.experiment(tree.sweep)
        if found is None or found.experiment_id != tree.experiment or found.lifecycle_stage == "deleted":
            raise error
        try:
            trial.project(tree, self._plan, trial.news())
        except Refused as again:
            trial.forget()
            said = f"trial {trial.identity}: {again}"
            self._refused[trial.identity] = (source.signature(trial.folder), said)
            log.warning("%s", said)

    def _begun(self) -> list[TrialRun]:
        for folder in source.trials(self.folder):
            self._trials.setdefault(folder.name, TrialRun(folder))
        return list(self._trials.values())

    def _lag(self, reason: str) -> Lag:
        refused = tuple(said for _, said in self._refused.values())
        pending = (replicate.pending() for trial in self._begun() for replicate in trial.news())
        behind = [epochs for epochs in pending if epochs is not None]
        trials = sum(trial.is_behind for trial in self._trials.values())
        return Lag(len(behind), sum(behind), trials, reason, refused)

    def close(self, *, interrupted: bool) -> None:
        """Say that nobody works on the sweep any more.

        Args:
            interrupted: The sweep's driver has ended: what has no record was cut short.

        Raises:
            Unavailable: The store does not answer.
        """
        tree = self._open()
        try:
            hang(tree, self.folder, self._plan)
        except Refused as error:
            log.warning("pictures and weights: %s", error)
        now = int(time.time() * 1000)
        if interrupted:
            for trial in self._trials.values():
                trial.interrupt(tree, now)
        statuses = self._statuses()
        counts = Counter(statuses.values())
        if all(self._plan.is_final(trial, statuses) for trial in self._plan.trials):
            self._sweep_run.set_state(tree, "FINISHED", "finished", counts)
        elif interrupted:
            self._sweep_run.set_state(tree, "KILLED", "interrupted", counts)

    def _statuses(self) -> dict[str, str]:
        replicates = (r for trial in self._trials.values() for r in trial.replicates.values())
        records = ((r.identity, source.read_record(r.folder)) for r in replicates)
        return {name: str(record["status"]) for name, record in records if record}
