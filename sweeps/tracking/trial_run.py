"""One trial's run: its configuration, and the statistics over its replicates each time one of them has ended."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.tracking import source
from sweeps.tracking.client import Point
from sweeps.tracking.parameters import as_parameters, as_tags, configuration
from sweeps.tracking.replicate_run import ReplicateRun, forked_from
from sweeps.tracking.summary import summarise
from sweeps.tracking.tree import ENDED, PARENT, Tree, log_data, origin_tags

if TYPE_CHECKING:
    from mlflow.entities import Run

    from sweeps.mlflow_query.runs import Run as Read

_WORST_FIRST = ("failed", "diverged", "stopped", "finished")


@dataclass
class TrialRun:
    """What was projected of one trial.

    Attributes:
        folder: The trial's folder, named by its identity.
        run: Id of its run, once known.
        replicates: Those that have begun, by identity.
        is_behind: Whether its own run does not tell what its replicates' runs do.
    """

    folder: Path
    run: str | None = None
    replicates: dict[str, ReplicateRun] = field(default_factory=dict)
    is_behind: bool = False
    _found: dict[str, Run] = field(default_factory=dict)
    _is_known: bool = False
    _state: str = ""
    _tagged: str = ""
    _summarised: str = ""
    _unsent: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Name of the trial."""
        return self.folder.name

    def news(self) -> list[ReplicateRun]:
        """Replicates with something that was not projected."""
        for folder in source.replicates(self.folder):
            self.replicates.setdefault(folder.name, ReplicateRun(folder))
        return [replicate for replicate in self.replicates.values() if replicate.has_news()]

    def due(self, patience: float) -> list[ReplicateRun]:
        """News to be told now: of replicates in training one, and the others when they waited long enough.

        Each write costs MLflow about 10 ms of processor time, whatever is in it, and a trial's replicates train
        together: one of them shows how far the trial is.

        Args:
            patience: Seconds that the others wait.
        """
        news = self.news()
        live = [replicate for replicate in news if replicate.is_live()]
        latest = time.monotonic() - patience
        waiting = {replicate.identity for replicate in live[1:] if replicate.written > latest}
        return [replicate for replicate in news if replicate.identity not in waiting]

    def doubt(self) -> None:
        """A request failed and may have been carried out: look for runs again before making any.

        What is known stays known: a batch that is sent a second time changes nothing.
        """
        if self.run is None or any(replicate.run is None for replicate in self.replicates.values()):
            self._is_known, self._found = False, {}

    def forget(self) -> None:
        """Look everything up again before the next write."""
        self.run, self._is_known, self._found = None, False, {}
        self._state, self._tagged, self._summarised = "", "", ""
        for replicate in self.replicates.values():
            replicate.forget()

    def project(self, tree: Tree, plan: source.Plan, news: Sequence[ReplicateRun]) -> None:
        """Bring the trial's run and those of its replicates up to their folders."""
        self.is_behind = True
        self._project(tree, plan, news)
        self.is_behind = False

    def _project(self, tree: Tree, plan: source.Plan, news: Sequence[ReplicateRun]) -> None:
        planned = self._planned(plan)
        records = self._records()
        digest = _digest_of(records)
        about = records[0] if records else planned
        if not self._is_known and self._look_up(tree, about, digest):
            return
        if self.run is None:
            self._create(tree, plan, planned, records, news)
            if self.run is None:
                return
        self._reopen(tree, plan, records)
        for replicate in news:
            replicate.project(tree, self.run, planned, self._found.pop(replicate.identity, None))
        # Of those that have their runs: if this process is killed now, the trial's does not tell that all do.
        told = self._records(is_told=True)
        if _digest_of(told) != self._summarised:
            self._summarise(tree, plan, told)
        self._send_parameters(tree)

    def _look_up(self, tree: Tree, about: Mapping[str, Any], digest: str) -> bool:
        """Find the runs; returns whether they tell all that the folder holds already."""
        from sweeps.mlflow_query.runs import of_entity

        listed = tree.listed.pop(self.identity, None)
        if listed is not None and listed.tags.get(PARENT) == tree.root and self._is_told(listed, digest):
            self._take(listed, about)
            return self._settle()
        found = tree.found(f"tags.trial = '{self.identity}'")  # its own and those of its replicates
        if (run := found.runs.pop(self.identity, None)) is not None:
            own = of_entity(run)
            self._take(own, about)
            if own.tags.get(PARENT) != tree.root:
                tree.client.log(own.run_id, tags={PARENT: str(tree.root)})
            if self._is_told(own, digest) and not found.doubles:
                return self._settle()
        self._found, self._is_known = found.runs, True
        return False

    def _take(self, own: Read, about: Mapping[str, Any]) -> None:
        """This run is the trial's."""
        self.run, self._state = own.run_id, own.status
        # Its tags come with a run, its statistics after: that they are there is known of one that has ended.
        self._summarised = own.tags.get("records", "") if self._state in ENDED else ""
        self._unsent = {k: text for k, text in _parameters(about)[0].items() if k not in own.parameters}

    def _is_told(self, own: Read, digest: str) -> bool:
        """Whether a run and those of its replicates tell all that the folder holds."""
        ended = own.status in ENDED and digest == own.tags.get("records", "")
        return ended and all((r.folder / source.RECORD).exists() for r in self.replicates.values())

    def _settle(self) -> bool:
        for replicate in self.replicates.values():
            replicate.settle()
        return True

    def _planned(self, plan: source.Plan) -> Mapping[str, Any]:
        known = plan.trials.get(self.identity) or source.read_trial(self.folder)
        return known or {"trial_id": self.identity}

    def _records(self, *, is_told: bool = False) -> list[source.Row]:
        """Of the replicates that have one; with `is_told` of those whose runs tell it."""
        chosen = (one for one in self.replicates.values() if not is_told or one.is_told())
        found = (source.read_record(replicate.folder) for replicate in chosen)
        return [record for record in found if record is not None]

    def _create(
        self,
        tree: Tree,
        plan: source.Plan,
        planned: Mapping[str, Any],
        records: Sequence[source.Row],
        news: Sequence[ReplicateRun],
    ) -> None:
        """Make its run, with all tags that are known: another request takes its time, whatever is in it."""
        starts = [record["ended"] for record in records]
        starts += [row["time"] for replicate in news for row in replicate.tail.rows()[:1]]
        if not starts:
            return
        about = records[0] if records else planned
        parameters, tags = _parameters(about)
        role = about.get("role")
        tags |= as_tags({"role": role, "twin": about.get("twin"), "trial": self.identity})
        # Whole, so that a configuration asked for is the one that was trained, to the last empty field.
        tags |= as_tags(
            {"config": json.dumps(about.get("config", {})), "point": json.dumps(planned.get("point", {}))}
        )
        tags |= self._outcome(plan, records) if records else {}
        name = f"{self.identity} (twin)" if role == "twin" else self.identity
        self.run = tree.create("trial", self.identity, name, min(starts), tree.root, tags)
        self._state, self._unsent, self._tagged = "RUNNING", parameters, tags.get("records", "")

    def _send_parameters(self, tree: Tree) -> None:
        """Send those that did not go with the statistics."""
        if self.run is not None and self._unsent:
            tree.client.log(self.run, parameters=self._unsent)
            self._unsent = {}

    def _reopen(self, tree: Tree, plan: source.Plan, records: Sequence[source.Row]) -> None:
        """A trial that had ended and gets more replicates, or whose replicates go on, runs again."""
        statuses = {str(record["replicate_id"]): str(record["status"]) for record in records}
        if self.run is not None and self._state in ENDED and not self._is_final(plan, statuses):
            tree.client.set_state(self.run, "RUNNING")
            tree.client.log(self.run, tags={"status": "running"})
            self._state, self._tagged = "RUNNING", ""

    def _is_final(self, plan: source.Plan, statuses: Mapping[str, str]) -> bool:
        return plan.is_final(self.identity, statuses) and set(self.replicates) <= set(statuses)

    def _summarise(self, tree: Tree, plan: source.Plan, records: Sequence[source.Row]) -> None:
        """Log the statistics under the number of replicates that have ended for good."""
        assert self.run is not None  # noqa: S101 - `project` has just made sure
        if not records:
            return
        tags = self._outcome(plan, records)
        digest, status, final = tags["records"], tags["status"], tags["status"] != "running"
        ended = max(record["ended"] for record in records)
        summary = summarise(records, plan.metric)
        summary["wall_seconds.sum"] = sum(float(record["wall_seconds"]) for record in records)
        step = sum(1 for record in records if record["status"] != "failed")
        if final and self._state in ENDED:
            tree.client.set_state(self.run, "RUNNING")
        points = [Point(name, value, ended, step) for name, value in summary.items()]
        tree.client.log(
            self.run, points=points, parameters=self._unsent, tags=tags if digest != self._tagged else {}
        )
        self._state, self._unsent = "RUNNING", {}
        if final:
            log_data(tree, self.run, records)
            state = "FAILED" if status == "failed" else "FINISHED"
            tree.client.set_state(self.run, state, ended)
            self._state = state
        self._summarised = digest

    def _outcome(self, plan: source.Plan, records: Sequence[source.Row]) -> dict[str, str]:
        """Tags that say what came of it, as far as it has."""
        statuses = {str(record["replicate_id"]): str(record["status"]) for record in records}
        final = self._is_final(plan, statuses)
        status = next(s for s in _WORST_FIRST if s in statuses.values()) if final else "running"
        origins = (forked_from(record) for record in records)
        forked = as_tags({"forked_from": next((one for one in origins if one), None)})
        return {"status": status, "records": _digest_of(records)} | origin_tags(records[0]) | forked

    def interrupt(self, tree: Tree, now: int) -> None:
        """Say of runs that were cut short that nobody works on them any more."""
        for replicate in self.replicates.values():
            replicate.interrupt(tree, now)
        if self.run is not None and self._state == "RUNNING":
            untold = {"records": ""} if self.is_behind else {}
            tree.client.log(self.run, tags={"status": "interrupted"} | untold)
            tree.client.set_state(self.run, "KILLED", now)
            self._state = "KILLED"


def _parameters(about: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    return as_parameters(configuration(about.get("config", {}), about.get("role")))


def _digest_of(records: Sequence[source.Row]) -> str:
    """What changes when any record of a trial does."""
    names = sorted(f"{r['replicate_id']} {r['status']} {r['ended']}" for r in records)
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
