"""Replay: a recorded replicate is trained again in this process, and its history compared with the recorded one.

In the stored layout (the same stack, threads and type) the numbers are the same bits on the same machine and
versions, so any difference is told. Alone, sums are taken in another order: equal then means to a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import layout, records, storage
from sweeps.environment import environment
from sweeps.errors import SweepError, SweepNotFound
from sweeps.overview import trial_in
from sweeps.query import Root
from sweeps.spec import build_trial
from sweeps.status import Status

if TYPE_CHECKING:
    from sweeps.data import Dataset

ALONE_TOLERANCE = 0.01
"""Relative. Rounding of 1e-7 grows over a training, and one example more or less is a step of an accuracy."""
_NOT_COMPARED = ("epoch", "time")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """One number that came out otherwise; None is one that is not finite, or not there."""

    epoch: int
    metric: str
    recorded: float | None
    replayed: float | None

    @property
    def size(self) -> float:
        """|a - b| / max(|a|, |b|); infinite where only one of them is a number."""
        a, b = self.recorded, self.replayed
        if a is None or b is None:
            return 0.0 if a is b else math.inf
        return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}, {self.metric}: recorded {self.recorded!r}, replayed {self.replayed!r}, "
            f"relative difference {self.size:.3g}"
        )


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes:
        trial_id: The trial.
        replicate_id: The replicate.
        layout: In words, what was trained.
        tolerance: Relative; 0 asks for the same bits.
        epochs: Epochs that were compared.
        first: The first number that differs by more than the tolerance; None when there is none.
        largest: The number that differs most, the tolerance aside; None when all are the same bits.
        ending: How the replicate ended, recorded and replayed.
        surroundings: By name, what differs between the recorded environment and this one.
    """

    trial_id: str
    replicate_id: str
    layout: str
    tolerance: float
    epochs: int
    first: Difference | None
    largest: Difference | None
    ending: tuple[str, str]
    surroundings: Mapping[str, tuple[Any, Any]]

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs by more than the tolerance."""
        return self.first is None and self.ending[0] == self.ending[1]

    def lines(self) -> Iterator[str]:
        """What there is to say, for a terminal."""
        yield f"{self.trial_id}/{self.replicate_id}: {self.epochs} epochs compared, {self.layout}"
        if self.largest is None:
            yield "the history is equal, bit for bit"
        elif self.first is None:
            yield f"the history is equal to {self.tolerance:g} relative; largest: {self.largest}"
        else:
            yield f"the history differs first at {self.first}"
            yield f"largest: {self.largest}"
        if self.ending[0] != self.ending[1]:
            yield f"recorded as {self.ending[0]}; it ended as {self.ending[1]}"
        for name, (recorded, here) in self.surroundings.items():
            yield f"environment: {name} was {recorded}, is {here}"
        if not self.is_equal and not self.surroundings:
            yield "the recorded environment is this one"


def replay(
    name: str,
    trial: str,
    replicate: str | None = None,
    *,
    alone: bool = False,
    tolerance: float | None = None,
    root: Root = None,
    show: Callable[[str], None] = lambda line: None,
) -> Replay:
    """Train one recorded replicate again and compare.

    Args:
        name: Of the sweep.
        trial: Trial, or the beginning of its name.
        replicate: Replicate, or the beginning of its name; the first recorded one when None.
        alone: Train it alone even if it was recorded as one of a stack.
        tolerance: Relative; by default 0 in the recorded layout and `ALONE_TOLERANCE` alone.
        root: Storage.
        show: Told what is being trained, before it is.

    Raises:
        SweepNotFound: No such sweep, trial or recorded replicate; lists those there are.
        SweepError: The data are not those that were recorded.
    """
    folder = _replicate_in(trial_in(storage.sweep_folder(storage.resolve(root), name), trial), replicate)
    record = records.read_record(folder) or {}
    stack, place = _layout_of(folder, alone=alone)
    is_as_recorded = len(stack.members) == len(_stored(folder).members)
    if tolerance is None:
        tolerance = 0.0 if is_as_recorded else ALONE_TOLERANCE
    described = _describe(stack, is_as_recorded=is_as_recorded)
    show(f"training {described}")
    recorded = records.read_history(folder)
    rows, ending = _train(record, stack, place, epochs=len(recorded))
    differences = list(_differences([*recorded, _final(record)], rows))
    return Replay(
        record["trial_id"],
        record["replicate_id"],
        described,
        tolerance,
        len(recorded),
        next((one for one in differences if one.size > tolerance), None),
        max(differences, key=lambda one: one.size, default=None),
        (record["status"], ending),
        _surroundings(record["environment"], stack),
    )


def _replicate_in(trial: Path, replicate: str | None) -> Path:
    recorded = [path.parent for path in sorted(trial.glob(f"*/{records.RECORD}"))]
    found = [path for path in recorded if path.name.startswith(replicate or "")]
    if not found or (replicate and len(found) > 1):
        known = ", ".join(path.name for path in found or recorded) or "none yet"
        what = "several recorded replicates begin" if found else "no recorded replicate begins"
        raise SweepNotFound(f"{what} with {replicate or ''!r} in trial {trial.name}; there: {known}")
    return found[0]


def _stored(folder: Path) -> layout.Stack:
    """The stack that a replicate was trained in."""
    for stack in layout.read(folder.parent):
        if folder.name in stack.members:
            return stack
    raise SweepNotFound(f"{folder.parent / layout.LAYOUT} does not hold {folder.name}: how it was trained is lost")


def _layout_of(folder: Path, *, alone: bool) -> tuple[layout.Stack, int]:
    """What to train, and the replicate's place in it; on the CPU where the recorded GPU is missing."""
    import torch

    stack = _stored(folder)
    if stack.device != "cpu" and not torch.cuda.is_available():
        stack = replace(stack, device="cpu")
    place = stack.members.index(folder.name)
    if not alone:
        return stack, place
    return replace(stack, members=(stack.members[place],), seeds=(stack.seeds[place],)), 0


def _describe(stack: layout.Stack, *, is_as_recorded: bool) -> str:
    what = f"as one of a stack of {len(stack.members)}" if len(stack.members) > 1 else "alone"
    as_recorded = "as recorded" if is_as_recorded else "not as recorded: sums are taken in another order"
    return f"{what} on {stack.device}, {stack.threads} threads, {stack.dtype} ({as_recorded})"


def _train(record: Row, stack: layout.Stack, place: int, *, epochs: int) -> tuple[list[Row], str]:
    """The replicate's rows, final numbers last, and how it ended."""
    import torch

    from sweeps.training import StackTraining

    spec = build_trial(record["config"])
    training = StackTraining(
        spec,
        stack.seeds,
        _data(record),
        device=stack.device,
        threads=stack.threads,
        dtype=getattr(torch, stack.dtype),
        together=stack.together,
    )
    status = Status(record["status"])
    last = spec.training.epochs if status in (Status.FINISHED, Status.DIVERGED) else epochs
    rows: list[Row] = []
    while training.epoch < last and training.ended(place) is None:
        row = training.run_epoch()[place]
        if row is not None:
            rows.append({"epoch": training.epoch, **storage.finite(row)})
    ended = training.ended(place)
    whole = Status.FINISHED if training.epoch == spec.training.epochs else status
    if status is not Status.FAILED:
        rows.append({"epoch": training.epoch, **storage.finite(dict(training.outcome(place).metrics))})
    return rows, (ended[0] if ended else whole).value


def _data(record: Row) -> Dataset:
    from sweeps.data import load
    from sweeps.trial_spec import Data

    dataset = load(Data.model_validate(record["config"]["data"]))
    if dataset.fingerprint != record["fingerprint"]:
        raise SweepError(
            f"data: {record['config']['data']} now has the fingerprint {dataset.fingerprint[:12]}, "
            f"the replicate was trained on {record['fingerprint'][:12]}: a replay needs the same data"
        )
    return dataset


def _final(record: Row) -> Row:
    """The numbers that only the record has, as a row of the last epoch."""
    from sweeps.metrics import FINAL

    return {"epoch": record["epochs"]} | {k: v for k, v in record["metrics"].items() if k in FINAL}


def _differences(recorded: list[Row], replayed: list[Row]) -> Iterator[Difference]:
    """Numbers that differ, in their order; names that a record of an older version lacks are not compared."""
    for known, row in zip(recorded, replayed, strict=False):
        for metric in sorted(known.keys() & row.keys()):
            if metric in _NOT_COMPARED or metric.endswith("_seconds"):
                continue
            found = Difference(known["epoch"], metric, known[metric], row[metric])
            if found.size:
                yield found


def _surroundings(recorded: Row, stack: layout.Stack) -> dict[str, tuple[Any, Any]]:
    """What differs between the recorded environment and this one."""
    here = environment() | {"device": stack.device, "threads": stack.threads}
    names = sorted((here.keys() | recorded.keys()) - {"versions", "node"})
    known, now = recorded.get("versions", {}), here["versions"]
    pairs = {name: (recorded.get(name), here.get(name)) for name in names}
    pairs |= {name: (known.get(name), now.get(name)) for name in sorted(known.keys() | now.keys())}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
