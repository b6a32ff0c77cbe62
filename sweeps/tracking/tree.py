"""The tree in MLflow: one experiment a sweep; sweep run > trial runs > replicate runs, each found by its identity.

MLflow makes a second run when a create is sent twice, so a run is looked for before it is made, and doubles that
another writer or a lost answer left behind are deleted. Which one stays is the same for every writer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps.errors import TrackingError
from sweeps.tracking.client import Client, Refused, without_password
from sweeps.tracking.parameters import as_tags

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

    from sweeps.mlflow_query.runs import Run as Read

PARENT = "mlflow.parentRunId"
OWNER = "sweep_id"
ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


class Found(NamedTuple):
    """Runs by identity, and how many doubles of them were deleted."""

    runs: dict[str, Run]
    doubles: int


@dataclass(frozen=True)
class Tree:
    """A sweep's experiment, and how runs are found and made in it.

    Attributes:
        client: The writer.
        sweep: Name of the sweep.
        experiment: Id of its experiment.
        root: Run of the sweep itself, once known.
        tags: Of the experiment, as they were when it was found.
        listed: Runs of trials by identity, as one question found them when the tree was opened, without doubles.
    """

    client: Client
    sweep: str
    experiment: str
    root: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    listed: dict[str, Read] = field(default_factory=dict)

    def tag(self, wanted: Mapping[str, str]) -> None:
        """Set tags of the experiment, those that it does not have yet: so a pass that fails goes on, not over."""
        self.client.tag_experiment(
            self.experiment, {name: value for name, value in wanted.items() if self.tags.get(name) != value}
        )

    def found(self, condition: str) -> Found:
        """Runs that meet a condition by identity; doubles are deleted, the same ones by every writer."""
        kept: dict[str, Run] = {}
        doubles = 0
        runs = self.client.runs(self.experiment, condition)
        for run in sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id)):
            identity = run.data.tags.get("identity", "")
            if identity in kept:
                self.client.delete_run(run.info.run_id)
                doubles += 1
            else:
                kept[identity] = run
        return Found(kept, doubles)

    def list_trials(self) -> None:
        """Ask for the runs of all trials at once: one by one it takes minutes where most are told already.

        Doubles are left out: they are looked at one by one, with what is below them.
        """
        known = self.client.trials(self.experiment)
        times = Counter(one.tags.get("identity", "") for one in known)
        self.listed.update({name: one for one in known if times[name := one.tags.get("identity", "")] == 1})

    def create(
        self, level: str, identity: str, name: str, start: int, parent: str | None, tags: Mapping[str, str]
    ) -> str:
        """Make a run and return its id; the caller has looked for it."""
        own = {"level": level, "identity": identity, "sweep": self.sweep, "status": "running"}
        own |= {PARENT: parent} if parent else {}
        own["mlflow.source.name"] = "sweeps"
        return self.client.create_run(self.experiment, name, start, {**own, **tags})


def open_tree(client: Client, sweep: str, owner: str, artifacts: Path | None) -> Tree:
    """Find or make the experiment of a sweep.

    Args:
        client: The writer.
        sweep: Name of the sweep, and of the experiment.
        owner: Tells this sweep from one of the same name in another storage.
        artifacts: Folder of the artifacts; None leaves it to the server.

    Raises:
        TrackingError: The experiment belongs to a sweep of the same name in another storage.
    """
    found = client.experiment(sweep)
    if found is None:
        location = (artifacts / sweep).as_uri() if artifacts else None
        try:
            made = client.create_experiment(sweep, location, {**_EXPERIMENT_TAGS, OWNER: owner})
        except Refused:
            found = client.experiment(sweep)  # another process made it meanwhile
            if found is None:
                raise
        else:
            return Tree(client, sweep, made)
    require_owner(client.uri, found, owner)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return Tree(client, sweep, str(found.experiment_id), tags=dict(found.tags))


def require_owner(uri: str, experiment: Experiment, owner: str) -> None:
    """Refuse an experiment that another sweep of the same name has made.

    Raises:
        TrackingError: It was.
    """
    if experiment.tags.get(OWNER) != owner:
        raise TrackingError(
            f"the MLflow experiment {experiment.name!r} at {without_password(uri)} belongs to another sweep of "
            "that name (in another storage, or not made by this project); give this sweep another name, "
            "or rename or delete that experiment in MLflow"
        )


def origin_tags(record: Mapping[str, object]) -> dict[str, str]:
    """Where a replicate comes from: host, device, versions, commit, data."""
    environment = record.get("environment")
    known: Mapping[str, object] = environment if isinstance(environment, Mapping) else {}
    versions = known.get("versions")
    return as_tags(
        {
            "host": known.get("host"),
            "device": known.get("device"),
            "git_commit": known.get("commit"),
            "mlflow.source.git.commit": known.get("commit"),
            "dirty": known.get("dirty"),
            "versions": _listed(versions) if isinstance(versions, Mapping) else None,
            "fingerprint": record.get("fingerprint"),
        }
    )


def log_data(tree: Tree, run: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Say on a run which data sets replicates were trained on, each by its fingerprint."""
    found = {record["fingerprint"]: record["config"]["data"] for record in records if record.get("fingerprint")}
    for fingerprint, options in found.items():
        tree.client.log_dataset(run, str(options["kind"]), fingerprint, options)


def _listed(versions: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()) if version)
