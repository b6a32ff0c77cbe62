"""Which trials of a sweep stop early: a stopper's decisions, made from the records and kept beside them.

A decision is a file, `stop.json` in the trial's folder: after which epoch, why, and by which stopper. The driver
writes it, the worker trains the trial up to that epoch and records its replicates as `stopped`. While the file is
there the stop stands. Launching again with the same stopper leaves it; with another one the recorded curve is
judged again, and if that lets the trial pass, the file is deleted and the trial goes on.

Curves are read from the histories, never from what a worker reports: so a launch after a crash knows what the one
before it knew, and rungs, medians and looks are those of a sweep that nothing happened to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps import records, storage
from sweeps.document import Document
from sweeps.goal import score_of, sign_of
from sweeps.planned import PlannedTrial
from sweeps.spec import Objective, SweepSpec
from sweeps.status import Status
from sweeps.stoppers import STOPPERS, Curve, Look
from sweeps.units import by_unit

STOP = "stop.json"
_EMPTY = Curve((), ())


@dataclass(frozen=True)
class Stop:
    """A decision to stop a trial.

    Attributes:
        epoch: After which it stops.
        reason: For its records.
        by: The stopper and what it judged by, as a document.
    """

    epoch: int
    reason: str
    by: Document


def stop_of(sweep: Path, trial_id: str) -> Stop | None:
    """The decision to stop a trial that stands; None when there is none."""
    try:
        plain = json.loads((records.trial_folder(sweep, trial_id) / STOP).read_bytes())
    except FileNotFoundError:
        return None
    return Stop(plain["epoch"], plain["reason"], plain["by"])


def successes(sweep: Path, among: Collection[str] | None = None) -> dict[str, Stop]:
    """Trials that stopped because they have reached what was asked of them, by name; the earliest epoch first.

    Args:
        sweep: The sweep's folder.
        among: Names of the trials to look at; None for all that are recorded, of earlier plans, too.
    """
    found = {}
    for path in sweep.glob(f"trials/*/{STOP}"):
        stop = stop_of(sweep, path.parent.name) if among is None or path.parent.name in among else None
        if stop is not None and stop.by["kind"] in STOPPERS and STOPPERS[stop.by["kind"]].traits.get("success"):
            found[path.parent.name] = stop
    return dict(sorted(found.items(), key=lambda one: (one[1].epoch, one[0])))


def _write(sweep: Path, trial_id: str, stop: Stop) -> None:
    storage.write_json(records.trial_folder(sweep, trial_id) / STOP, vars(stop))


@dataclass(frozen=True)
class Recorded:
    """What is recorded of a trial.

    Attributes:
        curve: An epoch belongs to it once each replicate has its line or has diverged.
        times: When each of its epochs was, in milliseconds since 1970.
        has_finished: Whether any replicate has trained to its end: then the others do, too.
    """

    curve: Curve = _EMPTY
    times: tuple[int, ...] = ()
    has_finished: bool = False


def recorded(sweep: Path, trial: PlannedTrial, goal: Objective) -> Recorded:
    """Read what is recorded of a trial, as a stopper sees it."""
    histories, statuses = [], []
    seeds = [replicate.seeds.document() for replicate in trial.replicates]
    for replicate in trial.replicates:
        folder = records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id)
        histories.append({row["epoch"]: row for row in records.read_history(folder)})
        statuses.append(records.status_of(folder))
    ended = [status is Status.DIVERGED for status in statuses]  # a failed one is being trained again
    samples: list[tuple[float, ...]] = []
    times: list[int] = []
    for epoch in range(1, max((max(rows, default=0) for rows in histories), default=0) + 1):
        lines = [rows.get(epoch) for rows in histories]
        if any(line is None and not has_ended for line, has_ended in zip(lines, ended, strict=True)):
            break
        samples.append(tuple(by_unit([_number(line, goal.metric) for line in lines], seeds)))
        times.append(max(int(line["time"]) for line in lines if line is not None))
    scores = tuple(score_of(values, goal) for values in samples)
    turned = tuple(tuple(sign_of(goal) * value for value in values) for values in samples)
    return Recorded(Curve(scores, turned), tuple(times), Status.FINISHED in statuses)


def _number(line: dict[str, Any] | None, metric: str) -> float:
    value = None if line is None else line.get(metric)
    return math.nan if value is None else float(value)


class Judge:
    """Asks a sweep's stopper about each new epoch that is recorded.

    Args:
        spec: With a stopper.
        sweep: The sweep's folder.
        trials: Those known so far; what is recorded of them is what the first decisions rest on.
        expected: Trials that will take part in all, where that is more than are known so far.
    """

    def __init__(
        self, spec: SweepSpec, sweep: Path, trials: Iterable[PlannedTrial], *, expected: int | None = None
    ) -> None:
        assert spec.stopper is not None  # noqa: S101 - a programming error, not an input
        self._spec, self._sweep = spec, sweep
        self._by = by(spec)
        self._goal = spec.stopping_goal
        self._entry, self._options = spec.stopper.entry, spec.stopper.options
        self._prunes = prunes(spec)
        taking_part = [trial for trial in trials if takes_part(trial, self._prunes)]
        self._expected = max(len(taking_part), expected or 0)
        self._recorded = {trial.trial_id: recorded(sweep, trial, self._goal) for trial in taking_part}

    def catch_up(self, trial: PlannedTrial) -> Stop | None:
        """Decide about the last recorded epoch of a trial that an earlier launch left in the middle.

        It may have died between the epoch and the decision. Only what was recorded before that epoch counts.
        """
        known = self._recorded.get(trial.trial_id, Recorded())
        if not known.times or stop_of(self._sweep, trial.trial_id) is not None:
            return None
        return self._decide(trial, len(known.times), before=known.times[-1])

    def report(self, trial: PlannedTrial) -> Stop | None:
        """Read what is newly recorded of a trial, and decide about it."""
        if not takes_part(trial, self._prunes):
            return None
        storage.refresh(records.trial_folder(self._sweep, trial.trial_id))
        known = self._recorded.get(trial.trial_id, Recorded())
        now = self._recorded[trial.trial_id] = recorded(self._sweep, trial, self._goal)
        for epoch in range(len(known.times) + 1, len(now.times) + 1):
            if (stop := self._decide(trial, epoch)) is not None:
                return stop
        return None

    def judged_again(self, trial: PlannedTrial) -> Stop | None:
        """What this stopper says of a trial that another one stopped, from all that is recorded now."""
        known = self._recorded.get(trial.trial_id, Recorded())
        verdicts = (self._verdict(trial, epoch) for epoch in range(1, len(known.times) + 1))
        return next((stop for stop in verdicts if stop is not None), None)

    def _decide(self, trial: PlannedTrial, epoch: int, before: int | None = None) -> Stop | None:
        stop = self._verdict(trial, epoch, before)
        if stop is not None:
            _write(self._sweep, trial.trial_id, stop)
        return stop

    def _verdict(self, trial: PlannedTrial, epoch: int, before: int | None = None) -> Stop | None:
        mine = self._recorded[trial.trial_id]
        if epoch >= trial.spec.training.epochs or mine.has_finished:
            return None
        others = {
            name: other.curve if before is None else other.curve.until(sum(time < before for time in other.times))
            for name, other in self._recorded.items()
            if name != trial.trial_id
        }
        look = Look(
            trial=trial.trial_id,
            curve=mine.curve.until(epoch),
            others=others,
            epochs=trial.spec.training.epochs,
            trials=self._expected,
            sign=sign_of(self._goal),
        )
        why = self._entry.function(look, **self._options)
        if why is None:
            return None
        by_what = f"{self._entry.name} by {self._goal.metric} {self._goal.statistic}"
        return Stop(epoch, f"{by_what}: {why}", dict(self._by))


def takes_part(trial: PlannedTrial, prunes: bool) -> bool:
    """Whether a trial may be stopped: what others are compared with, twins and controls, may not.

    Args:
        trial: Any.
        prunes: Whether the sweep prunes at all; if not, its trials are nobody's twins.
    """
    from rmt import RULES

    is_control = RULES[trial.spec.prune.rule].traits.get("control", False)
    return not is_control if trial.spec.is_pruned else not prunes


def prunes(spec: SweepSpec) -> bool:
    """Whether any trial of a sweep is pruned."""
    return spec.trial.is_pruned or any(map(spec.prunes_at, spec.space))


def by(spec: SweepSpec) -> Document:
    """What a decision depends on, beside the records."""
    assert spec.stopper is not None  # noqa: S101 - a programming error, not an input
    goal = spec.stopping_goal.model_dump(mode="json")
    return {"kind": spec.stopper.kind, "version": spec.stopper.entry.version, **spec.stopper.options, **goal}


def review(spec: SweepSpec, sweep: Path, trials: Iterable[PlannedTrial]) -> dict[str, Stop]:
    """The stops that stand, by trial: those of this stopper, and those of others that it would have made too.

    Reads only; `settle` makes it so.
    """
    stops = {t.trial_id: (t, stop) for t in trials if (stop := stop_of(sweep, t.trial_id)) is not None}
    if not stops or spec.stopper is None:
        return {}
    mine = by(spec)
    standing = {name: stop for name, (_, stop) in stops.items() if stop.by == mine}
    others = [(trial, stop) for trial, stop in stops.values() if stop.by != mine]
    if others:
        judge = Judge(spec, sweep, trials)
        for trial, stop in others:
            if (again := judge.judged_again(trial)) is not None:
                standing[trial.trial_id] = Stop(stop.epoch, again.reason, again.by)
    return standing


def settle(spec: SweepSpec, sweep: Path, trials: Iterable[PlannedTrial]) -> None:
    """Withdraw the stops that do not stand any more."""
    trials = list(trials)
    standing = review(spec, sweep, trials)
    for trial in trials:
        stop = stop_of(sweep, trial.trial_id)
        if trial.trial_id in standing:
            if stop != standing[trial.trial_id]:
                _write(sweep, trial.trial_id, standing[trial.trial_id])
        elif stop is not None:
            storage.remove(records.trial_folder(sweep, trial.trial_id) / STOP)


def is_settled(sweep: Path, trial_id: str, replicate_id: str) -> bool:
    """Whether nothing is left to train of a replicate: it has a final record, or stopped and that stands."""
    status = records.status_of(records.replicate_folder(sweep, trial_id, replicate_id))
    if status is Status.STOPPED:
        return stop_of(sweep, trial_id) is not None
    return status is not None and status.is_final
