"""What the projection reads of a sweep's folder. Light: it must not import torch into the projector."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLAN = "plan.json"
RECORD = "record.json"
TRIAL = "trial.json"
HISTORY = "history.jsonl"
LAUNCHES = "launches"
AT_EPOCH = "at_epoch."  # before the names of measures taken on the way, the step of which is their epoch
_NOT_REPLICATES = frozenset({"checkpoint"})
Row = dict[str, Any]
Signature = tuple[int, int, int]


@dataclass(frozen=True)
class Plan:
    """What `plan.json` says: trials by name, dimensions, objective."""

    trials: Mapping[str, Row]
    dimensions: tuple[str, ...]
    objective: Mapping[str, Any]

    @property
    def swept(self) -> list[str]:
        """Dotted paths of the parameters that the dimensions set: those inside, where values are mappings."""
        points = [trial.get("point", {}) for trial in self.trials.values()]
        values = {path: [point[path] for point in points if path in point] for path in self.dimensions}
        return list(dict.fromkeys(leaf for path in self.dimensions for leaf in _leaves(path, values[path])))

    @property
    def metric(self) -> str:
        """Metric of the objective."""
        return str(self.objective.get("metric", "validation_accuracy"))

    def is_final(self, trial: str, statuses: Mapping[str, str]) -> bool:
        """Whether every planned replicate of a trial has ended, given the statuses of those that have."""
        planned = self.trials.get(trial, {}).get("replicates", [])
        return all(replicate["replicate_id"] in statuses for replicate in planned)


def _leaves(path: str, values: Sequence[Any]) -> list[str]:
    inside = [f"{path}.{key}" for value in values if isinstance(value, Mapping) for key in value]
    return inside or [path]


def read_plan(sweep: Path) -> Plan:
    """The plan of a sweep; an empty one when there is none (records alone are enough to project)."""
    plain = _read_json(sweep / PLAN) or {}
    return Plan(
        trials={trial["trial_id"]: trial for trial in plain.get("trials", [])},
        dimensions=tuple(plain.get("dimensions", ())),
        objective=plain.get("objective", {}),
    )


def trials(sweep: Path) -> Iterator[Path]:
    """Folders of the trials that have begun."""
    return _folders(sweep / "trials")


def replicates(trial: Path) -> Iterator[Path]:
    """Folders of a trial's replicates that have begun."""
    return (path for path in _folders(trial) if path.name not in _NOT_REPLICATES)


def _folders(parent: Path) -> Iterator[Path]:
    try:
        with os.scandir(parent) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except FileNotFoundError:
        names = []
    return (parent / name for name in names)


def read_record(folder: Path) -> Row | None:
    """The record of a replicate; None when there is none, or one that can not be read (it is trained again)."""
    return _read_json(folder / RECORD)


def read_trial(folder: Path) -> Row | None:
    """The trial's entry of the plan as its folder keeps it."""
    return _read_json(folder / TRIAL)


def read_launches(sweep: Path) -> list[Row]:
    """What each launch set out to do, and what came of it, oldest first."""
    found = (_read_json(path) for path in sorted((sweep / LAUNCHES).glob("*.json")))
    return [launch for launch in found if launch is not None]


def _read_json(path: Path) -> Row | None:
    try:
        plain = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None


def signature(path: Path) -> Signature | None:
    """What changes when a file or folder does; None when it is not there."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return (state.st_ino, state.st_size, state.st_mtime_ns)


@dataclass
class Tail:
    """The lines of a history that were not read yet; the first line of an epoch wins.

    Attributes:
        path: The file, which grows by whole lines and may be replaced by a mended copy.
        epoch: Last epoch that was taken.
    """

    path: Path
    epoch: int = 0
    _offset: int = 0
    _inode: int = 0
    _taken: int = field(default=0, repr=False)

    def rows(self) -> list[Row]:
        """Rows of epochs after `epoch`, in order, without taking them."""
        try:
            with self.path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                start = self._offset if inode == self._inode else 0
                file.seek(start)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._inode, self._offset, self._taken = inode, start, start + len(whole)
        return list(self._first_of_each_epoch(whole))

    def _first_of_each_epoch(self, whole: bytes) -> Iterator[Row]:
        epoch = self.epoch
        for line in whole.splitlines():
            row = _parse(line)
            if row is not None and row["epoch"] > epoch:
                epoch = row["epoch"]
                yield row

    def take(self, epoch: int) -> None:
        """Say that the rows up to an epoch are done with, and all that was read."""
        self.epoch, self._offset = epoch, self._taken

    def has_grown(self) -> bool:
        """Whether there is something that was not taken."""
        found = signature(self.path)
        return found is not None and (found[0] != self._inode or found[1] > self._offset)


def _parse(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("epoch"), int) and "time" in row else None
