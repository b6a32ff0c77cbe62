"""An adaptive sweep as it goes: which trial is next, what its outcome says, and a log that a relaunch replays.

The log is part of `plan.json` and grows with it: every draw, every draw that was dropped, every outcome that was
told, in that order. A relaunch makes the studies anew from the same seed and goes through the log, so that each
sampler is in the state it was in; values come from the records. Where it would draw something else (another
version of it, an outcome that is another one since seeds were added), the recorded trial is told as it was.

Every cell of the crossed dimensions has a study of its own, and they take turns: which point is best is asked of
each cell by itself, and each gets the same number of trials to be found with.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps import records, storage
from sweeps.assembly import Assembly
from sweeps.document import Document
from sweeps.errors import SpecError, StorageError
from sweeps.goal import score_of
from sweeps.identity import Namer
from sweeps.planned import PlannedTrial
from sweeps.planning import Fingerprint, Plan, once_per_data, plan_trial
from sweeps.points import cells, is_excluded, read_exclusions, space_of, witnesses
from sweeps.search.samplers import SEARCHERS, Study, point_at
from sweeps.seeds import crossed
from sweeps.space import Point
from sweeps.spec import Objective, SweepSpec
from sweeps.status import Status
from sweeps.stopping import is_settled, stop_of
from sweeps.units import by_unit

# Draws in a row that are excluded or known already, before a cell counts as searched through.
MOST_DROPS = 30


class Search:
    """The trials of an adaptive sweep: those in its log, and the next ones.

    Args:
        spec: With an adaptive design.
        sweep: The sweep's folder; it need not exist.
        fingerprint: Gives the fingerprint of a data set.

    Attributes:
        places: The cells of the crossed dimensions, each with a study of its own.
        unfinished: Trials that an earlier launch began, and twins, which are next to train.
    """

    def __init__(self, spec: SweepSpec, sweep: Path, fingerprint: Fingerprint) -> None:
        self.spec, self._sweep, self._fingerprint = spec, sweep, once_per_data(fingerprint)
        self._options = spec.design.options
        self.places = cells(spec)
        self._assembly = Assembly(spec.trial_document())
        self._exclusions = read_exclusions(spec, self._assembly)
        self._namer, self._seeds = Namer(), crossed(spec.replicates)
        self._studies: list[Study] = []
        self._numbers: dict[str, int] = {}  # of the draw, by trial
        self._running: set[str] = set()
        self._forget()
        if not all(self._note(event) for event in _read_log(spec, sweep)):
            self._forget()
        self.unfinished = deque(t for t in self.plan if not self._is_settled(t))

    def _forget(self) -> None:
        """Begin with an empty log."""
        self.trials: dict[str, PlannedTrial] = {}
        self.twins: dict[str, PlannedTrial] = {}
        self._cell_of: dict[str, int] = {}
        self._drawn: dict[str, Document] = {}
        self._told: set[str] = set()
        self._dropped: Counter[int] = Counter()  # draws in a row, by cell
        self._log: list[Document] = []

    def _note(self, event: Document) -> bool:
        """Take over an event; false when its trial would have another name today."""
        self._log.append(event)
        if "ask" in event:
            cell = self.places[event["cell"]]
            trial = self._planned(point_at(cell, event["drawn"]))
            name = event["ask"]
            self.trials[name], self._cell_of[name], self._drawn[name] = trial, event["cell"], event["drawn"]
            self._dropped[event["cell"]] = 0
            return trial.trial_id == name
        if "drop" in event:
            self._dropped[event["drop"]] += 1
        if "tell" in event:
            self._told.add(event["tell"])
        if "twin" in event:
            twin = self.twin_of(self.trials[event["of"]])
            self.twins[event["twin"]] = twin
            return twin.trial_id == event["twin"]
        return True

    def _planned(self, point: Point) -> PlannedTrial:
        trial = self._assembly.trial(point)
        return plan_trial(trial, point, self._fingerprint(trial.data), self._seeds, namer=self._namer)

    def twin_of(self, trial: PlannedTrial) -> PlannedTrial:
        """The same trial, unpruned."""
        point = {path: value for path, value in trial.point.items() if not path.startswith("prune.")}
        return plan_trial(trial.spec.twin, point, trial.fingerprint, self._seeds, namer=self._namer)

    @property
    def plan(self) -> Plan:
        """All trials so far, twins first."""
        log = {"key": _key(self.spec), "events": self._log}
        # A trial that was drawn unpruned is the twin of others as it is.
        drawn = (trial for name, trial in self.trials.items() if name not in self.twins)
        return Plan(self.spec, (*self.twins.values(), *drawn), search=log)

    @property
    def most(self) -> int:
        """Trials that will be searched by at most, twins apart."""
        return int(self._options["trials"])

    @property
    def replicates(self) -> int:
        """Of each trial."""
        return len(self._seeds)

    @property
    def left(self) -> int:
        """Trials that are left to train at most, the twins of the best apart."""
        return self.most - sum(map(self._is_settled, self.trials.values()))

    def representatives(self) -> Plan:
        """Trials at every end of every dimension, for whatever is checked before anything is drawn."""
        points = [
            *(cell.point({}) for cell in self.places),
            *witnesses(self.spec, space_of(self.spec)),
        ]
        kept = (point for point in points if not is_excluded(point, self._exclusions, self._assembly))
        return Plan(self.spec, tuple({t.trial_id: t for t in map(self._planned, kept)}.values()))

    def next(self) -> PlannedTrial | None:
        """The next trial to begin; None while that depends on those that run, and when the search is over.

        What an earlier launch had begun comes first; twins of the best come last.
        """
        trial = self.unfinished.popleft() if self.unfinished else self._suggest()
        if trial is None and not self._running:
            self._plan_twins()
            trial = self.unfinished.popleft() if self.unfinished else None
        if trial is not None:
            self._running.add(trial.trial_id)
            folder = records.trial_folder(self._sweep, trial.trial_id)
            storage.write_json(folder / "trial.json", trial.document())  # where its worker looks
        return trial

    @property
    def is_open(self) -> bool:
        """Whether it goes on drawing: neither has it trials enough nor is every cell searched through."""
        return bool(self._open_cells())

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to begin or to wait for."""
        return not (self._running or self.unfinished or self._open_cells() or self.missing_twins())

    def end(self, trial: PlannedTrial) -> None:
        """A trial has ended, however it did."""
        storage.refresh(records.trial_folder(self._sweep, trial.trial_id))
        self._running.discard(trial.trial_id)
        if trial.trial_id in self.trials and trial.trial_id not in self._told and not self._is_partly_unknown():
            self._replay()
            self._tell(trial.trial_id)
            self._add({"tell": trial.trial_id})

    def _add(self, event: Document) -> None:
        """Note an event and make it durable."""
        self._note(event)
        storage.write_json(self._sweep / "plan.json", self.plan.document(), indent=None)

    def _open_cells(self) -> list[int]:
        if len(self.trials) >= self.most:
            return []
        asked = Counter(self._cell_of.values())
        left = [cell for cell in range(len(self.places)) if self._dropped[cell] < MOST_DROPS]
        return sorted(left, key=lambda cell: asked[cell])

    def _suggest(self) -> PlannedTrial | None:
        if self._is_partly_unknown():
            return None
        self._replay()
        for cell in self._open_cells():
            if (trial := self._suggest_in(cell)) is not None:
                return trial
        return None

    def _suggest_in(self, cell: int) -> PlannedTrial | None:
        study = self._studies[cell]
        while self._dropped[cell] < MOST_DROPS:
            number, drawn = study.ask()
            trial = self.new_trial(point_at(self.places[cell], drawn))
            if trial is None:
                study.drop(number)
                self._note({"drop": cell})
                continue
            self._numbers[trial.trial_id] = number
            self._add({"ask": trial.trial_id, "cell": cell, "drawn": drawn})
            return trial
        storage.write_json(self._sweep / "plan.json", self.plan.document(), indent=None)
        return None

    def new_trial(self, point: Point) -> PlannedTrial | None:
        """The trial at a point; None if it is excluded, can not be, or is one of those before."""
        if is_excluded(point, self._exclusions, self._assembly):
            return None
        try:
            trial = self._planned(point)
        except SpecError:
            return None  # two values that do not go together; each by itself was checked with the spec
        return None if trial.trial_id in self.trials else trial

    def _replay(self) -> None:
        """Make the studies, and bring them to where the log ends."""
        if self._studies:
            return
        sampler, objectives = SEARCHERS[self.spec.design.kind].function, len(self.spec.goals)
        for number, cell in enumerate(self.places):
            seed = int.from_bytes(hashlib.sha256(f"{self._options['seed']} {number}".encode()).digest()[:4], "big")
            self._studies.append(Study(cell, sampler(seed >> 1, **self._options), objectives))
        for event in self._log:
            if "drop" in event:
                number, _ = self._studies[event["drop"]].ask()
                self._studies[event["drop"]].drop(number)
            elif "ask" in event:
                self._draw_again(event)
            elif "tell" in event:
                self._tell(event["tell"])
        for name in [name for name, trial in self.trials.items() if name not in self._told]:
            if self._is_settled(self.trials[name]):  # its driver died before it could say so
                self._tell(name)
                self._add({"tell": name})

    def _is_partly_unknown(self) -> bool:
        """Whether the studies can not be made yet: records are damaged of trials that they were told of.

        These are being trained again; a trial that ends before them is told of when the studies are made.
        """
        if self._studies:
            return False
        awaited = self._told & (self._running | {trial.trial_id for trial in self.unfinished})
        return any(records.is_damaged(folder) for name in awaited for folder in self._folders(self.trials[name]))

    def _folders(self, trial: PlannedTrial) -> list[Path]:
        names = (replicate.replicate_id for replicate in trial.replicates)
        return [records.replicate_folder(self._sweep, trial.trial_id, name) for name in names]

    def _draw_again(self, event: Document) -> None:
        study = self._studies[event["cell"]]
        number, drawn = study.ask()
        if drawn == event["drawn"]:
            self._numbers[event["ask"]] = number
        else:
            study.drop(number)

    def _tell(self, name: str) -> None:
        study, scores = self._studies[self._cell_of[name]], self.scores(self.trials[name])
        if name in self._numbers:
            study.tell(self._numbers[name], scores)
        else:
            study.add(self._drawn[name], scores)

    def scores(self, trial: PlannedTrial) -> list[float]:
        """What a trial is worth by each objective, from its records; -inf unless every replicate has a value.

        Statistics are over units: an initialisation crossed with data orders counts once (see `sweeps.units`).
        """
        folders = self._folders(trial)
        # A damaged one that could not be made again, its workers lost, is worth what a failed one is.
        found = [None if records.is_damaged(folder) else records.read_record(folder) for folder in folders]
        seeds = [replicate.seeds.document() for replicate in trial.replicates]
        values = [by_unit([_value(record, goal) for record in found], seeds) for goal in self.spec.goals]
        return [score_of(one, goal) for one, goal in zip(values, self.spec.goals, strict=True)]

    def _is_settled(self, trial: PlannedTrial) -> bool:
        return all(is_settled(self._sweep, trial.trial_id, r.replicate_id) for r in trial.replicates)

    def _plan_twins(self) -> None:
        for trial in self.missing_twins():
            twin = self.twin_of(trial)
            if twin.trial_id not in self.twins:
                self._add({"twin": twin.trial_id, "of": trial.trial_id})
                self.unfinished.append(self.twins[twin.trial_id])

    def missing_twins(self) -> list[PlannedTrial]:
        """The best trials of each cell whose twins are not planned yet."""
        if not self.spec.baseline:
            return []
        known = {*self.twins, *self.trials}
        return [t for t in self._best() if t.spec.is_pruned and t.twin not in known]

    def _best(self) -> Iterator[PlannedTrial]:
        """The best trial of each cell, or those on the front of several objectives.

        One that was stopped is among them only where all were.
        """
        for number in range(len(self.places)):
            mine = [(t, self.scores(t)) for name, t in self.trials.items() if self._cell_of[name] == number]
            sound = [(trial, scores) for trial, scores in mine if min(scores) > -math.inf]
            sound = [pair for pair in sound if stop_of(self._sweep, pair[0].trial_id) is None] or sound
            if len(self.spec.goals) == 1 and sound:
                yield max(sound, key=lambda pair: pair[1])[0]
            elif sound:
                yield from (trial for trial, one in sound if not any(_dominates(other, one) for _, other in sound))


def _dominates(first: list[float], second: list[float]) -> bool:
    return all(a >= b for a, b in zip(first, second, strict=True)) and first != second


def _value(record: records.Record | None, goal: Objective) -> float:
    """A replicate's value; NaN when it has diverged or failed. One that was stopped has that of its last epoch."""
    if record is None or record["status"] not in (Status.FINISHED, Status.STOPPED):
        return math.nan
    value = record["metrics"].get(goal.metric)
    return math.nan if value is None else float(value)


def _key(spec: SweepSpec) -> str:
    """What a search is: with another space, objective or sampler a new one begins, whatever its name."""
    plain = spec.document(resolved=True)
    design = {name: value for name, value in plain["design"].items() if name not in ("trials", "at_once")}
    parts = {name: plain[name] for name in ("trial", "space", "exclude")}
    goals = [goal.model_dump(mode="json") for goal in spec.goals]
    text = json.dumps({**parts, "design": design, "goals": goals}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_log(spec: SweepSpec, sweep: Path) -> list[Document]:
    """The log of this very search; empty where the plan is damaged: the same draws then find their records."""
    try:
        search: dict[str, Any] = records.read_plan(sweep).get("search") or {}
    except StorageError:
        return []
    return list(search["events"]) if search.get("key") == _key(spec) else []
