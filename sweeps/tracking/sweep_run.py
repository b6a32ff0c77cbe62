"""The sweep's own run: spec, plan, outcome, packages, uncommitted changes, report, and the experiment's views."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweeps.tracking import source
from sweeps.tracking.tree import ENDED, Tree
from sweeps.tracking.view import view_tags

FILES = ("spec.yaml", "resolved.yaml", source.PLAN, "packages.txt", "changes.diff", "report.html")
OUTCOME = "launches.json"  # what each launch set out to do, and what came of it


@dataclass
class SweepRun:
    """What was projected of a sweep itself.

    Attributes:
        folder: The sweep's folder.
        run: Id of its run, once known.
    """

    folder: Path
    run: str | None = None
    _state: str = ""
    _sent: dict[str, source.Signature | None] = field(default_factory=dict)
    _launches: list[source.Row] = field(default_factory=list)

    def project(self, tree: Tree, plan: source.Plan) -> str:
        """Make sure of the run, its files and the views; returns its id."""
        if self.run is None:
            self._find_or_create(tree)
        assert self.run is not None  # noqa: S101 - made sure in the line above
        signatures = {name: source.signature(self.folder / name) for name in FILES}
        new = [name for name, found in signatures.items() if found and found != self._sent.get(name)]
        if source.PLAN in new:
            tree.tag(view_tags(plan) | _about(plan))
        for name in new:
            tree.client.upload(self.run, self.folder / name)
            self._sent[name] = signatures[name]
        launches = source.read_launches(self.folder)
        if launches != self._launches:
            tree.client.upload_text(self.run, OUTCOME, json.dumps(launches, indent=1))
            self._launches = launches
        return self.run

    def _find_or_create(self, tree: Tree) -> None:
        found = tree.found("tags.level = 'sweep'").runs.get(tree.sweep)
        if found is not None:
            self.run, self._state = found.info.run_id, found.info.status
            return
        start = source.signature(self.folder / "spec.yaml")
        begun = start[2] // 1_000_000 if start else int(time.time() * 1000)
        self.run = tree.create("sweep", tree.sweep, tree.sweep, begun, None, {})
        self._state = "RUNNING"

    def set_state(self, tree: Tree, state: str, status: str, counts: Mapping[str, int]) -> None:
        """Say how the sweep stands."""
        if self.run is None or state == self._state:
            return
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        tree.client.log(self.run, tags={"status": status, "replicates": said})
        tree.client.set_state(self.run, state, int(time.time() * 1000) if state in ENDED else None)
        self._state = state


def _about(plan: source.Plan) -> dict[str, str]:
    """What a question has to know of a sweep before it asks for runs."""
    replicates = sum(len(trial.get("replicates", ())) for trial in plan.trials.values())
    return {"objective": json.dumps(plan.objective), "planned_replicates": str(replicates)}
