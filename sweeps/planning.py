"""The plan: every trial and replicate of a sweep by name, known before anything starts."""

from __future__ import annotations

import gc
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from sweeps import records
from sweeps.assembly import Assembly
from sweeps.document import Document
from sweeps.errors import Problem, SpecError
from sweeps.identity import Namer
from sweeps.planned import PlannedReplicate, PlannedTrial, Replicates
from sweeps.points import points_of
from sweeps.seeds import Seeds, crossed
from sweeps.space import Point
from sweeps.spec import SweepSpec
from sweeps.status import Status
from sweeps.texts import Texts
from sweeps.trial_spec import Data, TrialSpec

if TYPE_CHECKING:
    from sweeps.search.outlook import Outlook

FINAL = frozenset(status.value for status in Status if status.is_final)
Fingerprint = Callable[[Data], str]


@dataclass(frozen=True)
class Plan:
    """All trials of a sweep, twins first.

    Attributes:
        points_left_out: Points of the design that `budget.max_trials` has no room for.
        search: The log of an adaptive search, whose trials are planned as it goes; None for an explicit design.
        outlook: What such a search has yet to train, where that was asked for.
    """

    spec: SweepSpec
    trials: tuple[PlannedTrial, ...]
    points_left_out: int = 0
    search: Document | None = None
    outlook: Outlook | None = None

    def __iter__(self) -> Iterator[PlannedTrial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def expected(self) -> Plan:
        """The plan with stand-ins for the trials that a search is yet to choose."""
        if self.outlook is None:
            return self
        return replace(self, trials=(*self.trials, *self.outlook.trials, *self.outlook.twins), outlook=None)

    @property
    def replicates(self) -> int:
        """Number of replicates of all trials."""
        return sum(len(trial.replicates) for trial in self.trials)

    def document(self) -> Document:
        """Plain values, as `plan.json` holds them."""
        return {
            "sweep": self.spec.name,
            "dimensions": list(self.spec.space),
            "points_left_out": self.points_left_out,
            "objective": self.spec.objective.model_dump(mode="json"),
            **({"until": until.model_dump(mode="json")} if (until := self.spec.replicates.until) else {}),
            "trials": [trial.document() for trial in self.trials],
            **({"search": self.search} if self.search is not None else {}),
        }

    def progress(self, sweep: Path) -> Progress:
        """What the storage already holds of this plan.

        Folders are listed rather than asked for one by one: most of a large plan has none yet.
        """
        planned = {trial.trial_id: trial for trial in self.trials}
        states: dict[str, str] = {}
        begun: set[str] = set()
        others = 0
        for name, folders in itertools.groupby(records.folders(sweep), lambda folder: folder.parent.name):
            replicates = planned[name].replicates if name in planned else ()
            names = {replicate.replicate_id for replicate in replicates}
            for folder in folders:
                if folder.name in names:
                    states[folder.name] = _state(folder)
                    begun.add(name)
                else:
                    others += (folder / records.RECORD).exists()
        standing = self._standing(sweep, states)
        return Progress(states, self.replicates, frozenset(begun), others=others, standing=standing)

    def _standing(self, sweep: Path, states: Mapping[str, str]) -> frozenset[str]:
        """Stopped replicates that the stopper still stops."""
        if Status.STOPPED.value not in states.values():
            return frozenset()
        stopped = {name for name, state in states.items() if state == Status.STOPPED}
        from sweeps.stopping import review

        trials = review(self.spec, sweep, self.trials)
        return frozenset(
            r.replicate_id for t in self.trials if t.trial_id in trials for r in t.replicates
        ) & frozenset(stopped)


@dataclass(frozen=True)
class Progress:
    """State of each planned replicate in a storage.

    Attributes:
        states: By replicate of which anything is stored: a `Status`, `started` (a history and no record) or `new`.
        planned: Number of all replicates.
        begun: Trials of those replicates.
        others: Records in the sweep's folder that this plan does not ask for; they stay and are not touched.
        standing: Stopped replicates that stay so, since the stopper still stops them.
        only: Replicates to which training is limited; None for no limit.
        counts: Of states.
    """

    states: Mapping[str, str]
    planned: int
    begun: frozenset[str] = frozenset()
    others: int = 0
    standing: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    counts: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        counts = Counter(self.states.values())
        counts["new"] += self.planned - len(self.states)
        object.__setattr__(self, "counts", +counts)

    def is_final(self, replicate: PlannedReplicate) -> bool:
        """Whether launching leaves this replicate alone."""
        if self.only is not None and replicate.replicate_id not in self.only:
            return True
        return self.states.get(replicate.replicate_id) in FINAL or replicate.replicate_id in self.standing

    def to_train(self, trial: PlannedTrial) -> Replicates:
        """Replicates of a trial that launching trains."""
        if self.only is None and trial.trial_id not in self.begun:
            return trial.replicates
        return trial.replicates.where(lambda replicate: not self.is_final(replicate))


def one_of_each(trials: Iterable[PlannedTrial], *sections: str) -> Iterator[PlannedTrial]:
    """The first of all trials that share these very sections and have as many replicates.

    The trials of a plan share most sections: what is asked of each need be asked of few.

    Args:
        trials: Of a plan.
        sections: Names of sections of a trial, two or more.
    """
    read = operator.attrgetter(*sections)
    seen: dict[tuple[int, ...], tuple[BaseModel, ...]] = {}
    for planned in trials:
        found = read(planned.spec)
        key = (len(planned.replicates), *map(id, found))
        if key not in seen:
            seen[key] = found  # kept, so that no number is given twice
            yield planned


def _state(folder: Path) -> str:
    status = records.status_of(folder)
    if status is not None:
        return status.value
    return "started" if (folder / records.HISTORY).exists() else "new"


def make_plan(spec: SweepSpec, fingerprint: Fingerprint) -> Plan:
    """List every trial of a sweep: twins first, since siblings are compared with them and may fork from them.

    With `budget.max_trials` it is the trials of the first points whose trials, twins counted, are not more.

    Args:
        spec: A checked sweep.
        fingerprint: Gives the fingerprint of a data set.

    Raises:
        SpecError: A point leads to a trial that is not valid; names the point and the path.
    """
    assembly = Assembly(spec.trial_document())
    points = points_of(spec, assembly)
    builder = _Builder(spec, assembly, once_per_data(fingerprint))
    most = spec.budget.max_trials
    with without_collection():
        for number, point in enumerate(points):
            if not builder.add(point, most):
                return builder.plan(points_left_out=len(points) - number)
    return builder.plan()


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for reference cycles: hundreds of thousands of new objects without one would be searched, over and
    over, together with all that torch has loaded (four fifths of the time of a large plan)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Builder:
    """Collects the trials of points; what points share is built and named once."""

    def __init__(self, spec: SweepSpec, assembly: Assembly, fingerprint: Fingerprint) -> None:
        self.spec, self.assembly, self.fingerprint = spec, assembly, fingerprint
        self.namer, self.seeds = Namer(), crossed(spec.replicates)
        self.twins: dict[str, PlannedTrial] = {}
        self.pruned: dict[str, PlannedTrial] = {}
        self._twin_of: dict[tuple[int, ...], PlannedTrial] = {}

    def add(self, point: Point, most: int | None) -> bool:
        """Add the trials of a point; false, and nothing added, if the plan would have more than `most`."""
        trial = self._trial_at(point)
        twin = self._twin(trial, point)
        added = []
        if (not trial.is_pruned or self.spec.baseline) and twin.trial_id not in self.twins:
            added.append((self.twins, twin))
        if trial.is_pruned:
            named = plan_trial(trial, point, twin.fingerprint, self.seeds, twin=twin.trial_id, namer=self.namer)
            if named.trial_id not in self.pruned:
                added.append((self.pruned, named))
        if most is not None and len(self.twins) + len(self.pruned) + len(added) > most:
            return False
        for trials, planned in added:
            trials[planned.trial_id] = planned
        return True

    def plan(self, points_left_out: int = 0) -> Plan:
        """All trials, twins first."""
        siblings = (t if t.twin in self.twins else replace(t, twin=None) for t in self.pruned.values())
        return Plan(self.spec, (*self.twins.values(), *siblings), points_left_out)

    def _trial_at(self, point: Point) -> TrialSpec:
        try:
            return self.assembly.trial(point)
        except SpecError as error:
            where = f"(at the point {point})"
            raise SpecError([Problem(p.path, f"{p.message} {where}") for p in error.problems]) from None

    def _twin(self, trial: TrialSpec, point: Point) -> PlannedTrial:
        key = tuple(map(id, _unpruned_sections(trial)))
        twin = self._twin_of.get(key)
        if twin is None:
            fingerprint = self.fingerprint(trial.data)
            twin = plan_trial(trial.twin, _unpruned(point), fingerprint, self.seeds, namer=self.namer)
            self._twin_of[key] = twin
        return twin


def plan_trial(
    trial: TrialSpec,
    point: Point,
    fingerprint: str,
    seeds: Sequence[Seeds],
    *,
    twin: str | None = None,
    namer: Namer | None = None,
) -> PlannedTrial:
    """Name one trial and its replicates; `twin` is the name of its twin where that is known already."""
    namer = namer or Namer()
    if trial.is_pruned and twin is None:
        twin, _ = namer.names(trial.twin, fingerprint, [])
    name, names = namer.names(trial, fingerprint, seeds)
    return PlannedTrial(
        trial_id=name,
        role="pruned" if trial.is_pruned else "twin",
        twin=twin,
        point=point,
        spec=trial,
        fingerprint=fingerprint,
        replicates=Replicates(seeds, names),
    )


_unpruned_sections = operator.attrgetter(*(name for name in TrialSpec.model_fields if name != "prune"))


def _unpruned(point: Point) -> Point:
    return {path: value for path, value in point.items() if not path.startswith("prune.")}


def once_per_data(fingerprint: Fingerprint) -> Fingerprint:
    """The same, asked once for each data set."""
    known: dict[str, str] = {}
    texts = Texts()

    def remembered(data: Data) -> str:
        key = texts(data)
        if key not in known:
            known[key] = fingerprint(data)
        return known[key]

    return remembered
