"""The plan: every trial and replicate of a sweep by name, known before anything starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeps import records
from sweeps.design import DESIGNS, Point
from sweeps.document import Document
from sweeps.errors import Problem, SpecError
from sweeps.identity import replicate_id, trial_id
from sweeps.seeds import Seeds, crossed
from sweeps.spec import SweepSpec
from sweeps.status import Status
from sweeps.trial_spec import Data, TrialSpec

Fingerprint = Callable[[Data], str]


@dataclass(frozen=True)
class PlannedReplicate:
    """A replicate by name."""

    replicate_id: str
    seeds: Seeds


@dataclass(frozen=True)
class PlannedTrial:
    """A trial by name, with all its replicates.

    Attributes:
        role: `twin` when nothing is pruned, else `pruned`.
        twin: Name of the unpruned trial with everything else equal, when the plan has it.
        point: Values of the dimensions that make a difference to this trial.
    """

    trial_id: str
    role: str
    twin: str | None
    point: Point
    spec: TrialSpec
    fingerprint: str
    replicates: tuple[PlannedReplicate, ...]

    def document(self) -> Document:
        """Plain values, as `plan.json` and `trial.json` hold them."""
        return {
            "trial_id": self.trial_id,
            "role": self.role,
            "twin": self.twin,
            "point": self.point,
            "fingerprint": self.fingerprint,
            "config": self.spec.document(),
            "replicates": [{"replicate_id": r.replicate_id, "seeds": r.seeds.document()} for r in self.replicates],
        }


@dataclass(frozen=True)
class Plan:
    """All trials of a sweep, twins first."""

    spec: SweepSpec
    trials: tuple[PlannedTrial, ...]

    def __iter__(self) -> Iterator[PlannedTrial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def replicates(self) -> int:
        """Number of replicates of all trials."""
        return sum(len(trial.replicates) for trial in self.trials)

    def document(self) -> Document:
        """Plain values, as `plan.json` holds them."""
        return {
            "sweep": self.spec.name,
            "dimensions": list(self.spec.space),
            "objective": self.spec.objective.model_dump(mode="json"),
            "trials": [trial.document() for trial in self.trials],
        }

    def progress(self, sweep: Path) -> Progress:
        """What the storage already holds of this plan."""
        planned = {r.replicate_id for trial in self.trials for r in trial.replicates}
        state = {
            r.replicate_id: _state(records.replicate_folder(sweep, trial.trial_id, r.replicate_id))
            for trial in self.trials
            for r in trial.replicates
        }
        found = {folder.name for folder in records.folders(sweep) if (folder / records.RECORD).exists()}
        return Progress(state, others=len(found - planned), standing=self._standing(sweep, state))

    def _standing(self, sweep: Path, states: Mapping[str, str]) -> frozenset[str]:
        """Stopped replicates that the stopper still stops."""
        stopped = {name for name, state in states.items() if state == Status.STOPPED}
        if not stopped:
            return frozenset()
        from sweeps.stopping import review

        trials = review(self.spec, sweep, self.trials)
        return frozenset(
            r.replicate_id for t in self.trials if t.trial_id in trials for r in t.replicates
        ) & frozenset(stopped)


@dataclass(frozen=True)
class Progress:
    """State of each planned replicate in a storage.

    Attributes:
        states: By replicate: a `Status`, `started` (a history and no record) or `new`.
        others: Records in the sweep's folder that this plan does not ask for; they stay and are not touched.
        standing: Stopped replicates that stay so, since the stopper still stops them.
    """

    states: Mapping[str, str]
    others: int = 0
    standing: frozenset[str] = frozenset()
    counts: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", Counter(self.states.values()))

    def is_final(self, replicate: PlannedReplicate) -> bool:
        """Whether launching leaves this replicate alone."""
        state = self.states[replicate.replicate_id]
        settled = state in list(Status) and Status(state).is_final
        return settled or replicate.replicate_id in self.standing

    def to_train(self, trial: PlannedTrial) -> list[PlannedReplicate]:
        """Replicates of a trial that launching trains."""
        return [replicate for replicate in trial.replicates if not self.is_final(replicate)]


def _state(folder: Path) -> str:
    status = records.status_of(folder)
    if status is not None:
        return status.value
    return "started" if (folder / records.HISTORY).exists() else "new"


def make_plan(spec: SweepSpec, fingerprint: Fingerprint) -> Plan:
    """List every trial of a sweep: twins first, since siblings are compared with them and may fork from them.

    Args:
        spec: A checked sweep.
        fingerprint: Gives the fingerprint of a data set.

    Raises:
        SpecError: A point leads to a trial that is not valid; names the point and the path.
    """
    seeds = crossed(spec.replicates)
    fingerprint = _once_per_data(fingerprint)
    twins: dict[str, PlannedTrial] = {}
    pruned: dict[str, PlannedTrial] = {}
    for point in DESIGNS[spec.design.kind].function(spec.space, **spec.design.options):
        trial = _trial_at(spec, point)
        if not trial.is_pruned or spec.baseline:
            twin = plan_trial(trial.twin, _unpruned(point), fingerprint(trial.data), seeds)
            twins.setdefault(twin.trial_id, twin)
        if trial.is_pruned:
            planned = plan_trial(trial, point, fingerprint(trial.data), seeds)
            pruned.setdefault(planned.trial_id, planned)
    siblings = (t if t.twin in twins else replace(t, twin=None) for t in pruned.values())
    return Plan(spec, (*twins.values(), *siblings))


def plan_trial(trial: TrialSpec, point: Point, fingerprint: str, seeds: Sequence[Seeds]) -> PlannedTrial:
    """Name one trial and its replicates."""
    return PlannedTrial(
        trial_id=trial_id(trial, fingerprint),
        role="pruned" if trial.is_pruned else "twin",
        twin=trial_id(trial.twin, fingerprint) if trial.is_pruned else None,
        point=point,
        spec=trial,
        fingerprint=fingerprint,
        replicates=tuple(PlannedReplicate(replicate_id(trial, fingerprint, s), s) for s in seeds),
    )


def _trial_at(spec: SweepSpec, point: Point) -> TrialSpec:
    try:
        return spec.trial_at(point)
    except SpecError as error:
        raise SpecError([Problem(p.path, f"{p.message} (at the point {point})") for p in error.problems]) from None


def _unpruned(point: Point) -> Point:
    return {path: value for path, value in point.items() if not path.startswith("prune.")}


def _once_per_data(fingerprint: Fingerprint) -> Fingerprint:
    known: dict[str, str] = {}

    def remembered(data: Data) -> str:
        key = data.model_dump_json()
        if key not in known:
            known[key] = fingerprint(data)
        return known[key]

    return remembered
