"""One replicate's run: its epochs as they come, and when the record is there its final numbers and files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.storage import at_hand
from sweeps.tracking import source
from sweeps.tracking.client import Point
from sweeps.tracking.parameters import as_parameters, as_tags, configuration
from sweeps.tracking.summary import numbers
from sweeps.tracking.tree import ENDED, PARENT, Tree, origin_tags

if TYPE_CHECKING:
    from mlflow.entities import Run

FILES = ("spectra.npz",)
_NOT_METRICS = frozenset({"epoch", "time"})
Logged = Mapping[str, Mapping[int, float]]


@dataclass
class ReplicateRun:
    """What was projected of one replicate.

    Attributes:
        folder: Its record folder, named by its identity.
        run: Id of its run, once known.
        recorded: Signature of the record that was projected; None while there is none.
        written: When it was last written to, on the monotonic clock.
    """

    folder: Path
    run: str | None = None
    recorded: source.Signature | None = None
    written: float = -math.inf
    tail: source.Tail = field(init=False)
    _seen: source.Signature | None = None
    _state: str = ""
    _unsent: dict[str, str] = field(default_factory=dict)
    _logged: dict[str, Mapping[int, float]] = field(default_factory=dict)
    _tagged: str | None = None
    _sent: str | None = None
    _uploaded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tail = source.Tail(self.folder / source.HISTORY)

    @property
    def identity(self) -> str:
        """Name of the replicate."""
        return self.folder.name

    def has_news(self) -> bool:
        """Whether the folder holds something that was not projected."""
        if self.recorded is not None and source.signature(self.folder) == self._seen:
            return False
        return self.tail.has_grown() or source.signature(self.folder / source.RECORD) != self.recorded

    def is_told(self) -> bool:
        """Whether its run tells the record as it is now."""
        return self.recorded is not None and source.signature(self.folder / source.RECORD) == self.recorded

    def is_live(self) -> bool:
        """Whether it is still being trained, its run known and nothing but further epochs to be told."""
        return self.run is not None and not (self.folder / source.RECORD).exists()

    def pending(self) -> int | None:
        """Epochs that are not projected; None when nothing is missing, not even the record."""
        epochs = len(self.tail.rows())
        signature = source.signature(self.folder / source.RECORD)
        is_behind = epochs or (signature != self.recorded and source.read_record(self.folder) is not None)
        return epochs if is_behind else None

    def forget(self) -> None:
        """Look the run up again before the next write, and compare what it holds with the files."""
        self.run, self.recorded, self._seen, self._state, self._logged = None, None, None, "", {}
        self._tagged, self._sent, self._uploaded = None, None, set()
        self.tail = source.Tail(self.folder / source.HISTORY)

    def settle(self) -> None:
        """Take the folder as projected: the trial's run says so."""
        self.recorded = source.signature(self.folder / source.RECORD)
        self._seen = source.signature(self.folder)
        if self.recorded:
            rows = self.tail.rows()
            self.tail.take(rows[-1]["epoch"] if rows else 0)

    def project(self, tree: Tree, parent: str, planned: Mapping[str, Any], found: Run | None) -> None:
        """Bring the run up to the folder.

        Args:
            tree: Where to.
            parent: Run of the trial.
            planned: The trial's entry of the plan.
            found: The replicate's run, when one was found and is not known yet.
        """
        seen, signature = source.signature(self.folder), source.signature(self.folder / source.RECORD)
        record = source.read_record(self.folder)
        rows = self.tail.rows()
        if not rows and record is None:
            return
        digest = _digest(self.folder) if record else None
        if found is not None and self.run is None and self._is_done(found, digest):
            self.run, self._state = found.info.run_id, found.info.status
            if found.data.tags.get(PARENT) != parent:
                tree.client.log(found.info.run_id, tags={PARENT: parent})
            self.tail.take(rows[-1]["epoch"] if rows else self.tail.epoch)
        else:
            self._open(tree, parent, planned, rows, record, digest, found)
            self._write(tree, rows, record, digest)
        self.recorded, self._seen = (signature, seen) if record else (None, None)
        self.written = time.monotonic()

    @staticmethod
    def _is_done(found: Run, digest: str | None) -> bool:
        return digest is not None and found.data.tags.get("record") == digest and found.info.status in ENDED

    def _open(
        self,
        tree: Tree,
        parent: str,
        planned: Mapping[str, Any],
        rows: Sequence[source.Row],
        record: source.Row | None,
        digest: str | None,
        found: Run | None,
    ) -> None:
        """Make sure of a running run, and of what is in one that was found."""
        if self.run is None and found is None:
            self._create(tree, parent, planned, rows, record, digest)
        elif self.run is None and found is not None:
            self._adopt(tree, parent, planned, record, found)
        self._reopen(tree)

    def _adopt(
        self, tree: Tree, parent: str, planned: Mapping[str, Any], record: source.Row | None, found: Run
    ) -> None:
        """Take over a run that another projection made. What was asked already is kept when a request fails."""
        run = found.info.run_id
        for name in found.data.metrics:
            if name not in self._logged:
                self._logged[name] = tree.client.history(run, name)
        parameters, tags = self._parameters(planned, record)
        tree.client.log(run, tags={**tags, PARENT: parent})
        self._unsent = {key: text for key, text in parameters.items() if key not in found.data.params}
        self.run, self._state = run, found.info.status

    def _create(
        self,
        tree: Tree,
        parent: str,
        planned: Mapping[str, Any],
        rows: Sequence[source.Row],
        record: source.Row | None,
        digest: str | None,
    ) -> None:
        """Make its run, with all tags that are known: another request takes its time, whatever is in it."""
        parameters, tags = self._parameters(planned, record)
        tags |= as_tags(
            {
                "trial": planned["trial_id"],
                "role": planned.get("role"),
                "twin": planned.get("twin"),
            }
        )
        tags |= _record_tags(record, digest) if record else {}
        # The first epoch's end, which a projection beside the training and one years later both know.
        start = rows[0]["time"] if rows else (record or {})["started"]
        seeds = self._seeds(planned, record)
        name = f"seed {'/'.join(str(seed) for seed in seeds.values())}" if seeds else self.identity
        self.run = tree.create("replicate", self.identity, name, start, parent, tags)
        self._state, self._unsent, self._tagged = "RUNNING", parameters, digest

    def _reopen(self, tree: Tree) -> None:
        """A run that ended (stopped, failed, interrupted) goes on."""
        if self.run is not None and self._state in ENDED:
            tree.client.set_state(self.run, "RUNNING")
            tree.client.log(self.run, tags={"status": "running"})
            self._state, self._sent, self._tagged = "RUNNING", None, None

    def _parameters(
        self, planned: Mapping[str, Any], record: source.Row | None
    ) -> tuple[dict[str, str], dict[str, str]]:
        known = record or planned
        seeds = {f"seeds.{name}": seed for name, seed in self._seeds(planned, record).items()}
        return as_parameters(configuration(known.get("config", {}), known.get("role")) | seeds)

    def _seeds(self, planned: Mapping[str, Any], record: source.Row | None) -> dict[str, int]:
        if record:
            return dict(record.get("seeds", {}))
        own = (r for r in planned.get("replicates", ()) if r["replicate_id"] == self.identity)
        return next((dict(replicate["seeds"]) for replicate in own), {})

    def _write(
        self,
        tree: Tree,
        rows: Sequence[source.Row],
        record: source.Row | None,
        digest: str | None,
    ) -> None:
        assert self.run is not None  # noqa: S101 - `_open` has just made sure
        if rows or self._unsent or digest != self._sent:
            self._log(tree, rows, record, digest)
            self._sent, self._uploaded = digest, set()
        self.tail.take(rows[-1]["epoch"] if rows else self.tail.epoch)
        if record:
            self._upload(tree, record)
            state = "FAILED" if record["status"] == "failed" else "FINISHED"
            tree.client.set_state(self.run, state, record["ended"])
            self._state = state

    def _log(self, tree: Tree, rows: Sequence[source.Row], record: source.Row | None, digest: str | None) -> None:
        points = [point for row in rows for point in _points(row)]
        differing = sorted({p.step for p in points if _differs(p, self._logged)})
        tags = {"differing_epochs": ", ".join(map(str, differing))} if differing else {}
        new = [point for point in points if point.step not in self._logged.get(point.name, {})]
        if record:
            new += self._final_points(record)
            tags |= _record_tags(record, digest) if digest != self._tagged else {}
        tree.client.log(str(self.run), points=new, parameters=self._unsent, tags=tags)
        self._unsent, self._logged = {}, {}

    def _upload(self, tree: Tree, record: source.Row) -> None:
        """Store the files, each once even when the one after it fails."""
        made = texts(record) | fits(self.folder)
        for name in (*FILES, *made):
            if name in self._uploaded:
                continue
            if name in made:
                tree.client.upload_text(str(self.run), name, made[name])
            elif at_hand(self.folder / name).exists():
                tree.client.upload(str(self.run), self.folder / name)
            self._uploaded.add(name)

    def interrupt(self, tree: Tree, now: int) -> None:
        """Say of a run that was cut short that nobody works on it any more."""
        if self.run is not None and self._state == "RUNNING":
            untold = {"record": ""} if self._tagged else {}
            tree.client.log(self.run, tags={"status": "interrupted"} | untold)
            tree.client.set_state(self.run, "KILLED", now)
            self._state = "KILLED"

    def _final_points(self, record: source.Row) -> list[Point]:
        """Numbers that only the record has; those of the last epoch are in the history."""
        values = numbers(record) | {"wall_seconds": float(record["wall_seconds"])}
        in_history = {name for row in source.Tail(self.tail.path).rows() for name in row}
        return [
            Point(name, value, record["ended"], record["epochs"])
            for name, value in sorted(values.items())
            if name not in in_history
        ] + [
            Point(
                f"{source.AT_EPOCH}{name}", math.nan if value is None else value, record["ended"], taken["epoch"]
            )
            for taken in record.get("measures_at", ())
            for name, value in sorted(taken["network"].items())
        ]


def _points(row: source.Row) -> list[Point]:
    return [
        Point(name, math.nan if value is None else float(value), row["time"], row["epoch"])
        for name, value in row.items()
        if name not in _NOT_METRICS and (value is None or isinstance(value, int | float))
    ]


def _differs(point: Point, logged: Logged) -> bool:
    """Whether another value is logged for that epoch: it was trained again and came out otherwise."""
    known = logged.get(point.name, {}).get(point.step)
    return known is not None and known != point.value and not (math.isnan(known) and math.isnan(point.value))


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / source.RECORD).read_bytes()).hexdigest()


def _record_tags(record: source.Row, digest: str | None) -> dict[str, str]:
    tags = as_tags(
        {
            "status": record["status"],
            "reason": record.get("reason") or None,
            "epochs": record["epochs"],
            "started": record["started"],
            "record": digest,
            "format": record.get("format"),
            "input": json.dumps(record["input"]) if record.get("input") else None,
            "retrained_epochs_differing": record.get("retrained_epochs_differing"),
            "forked_from": forked_from(record),
            "resumed_at": record.get("resumed_at"),
        }
    )
    return tags | origin_tags(record)


def forked_from(record: source.Row) -> str | None:
    """The trial and epoch a training began from; None when it began from scratch."""
    origin = record.get("forked_from")
    return f"{origin['trial_id']} after epoch {origin['epoch']}" if origin else None


def texts(record: source.Row) -> dict[str, str]:
    """Text artifacts of a record: the layers as a table that MLflow shows, the traceback of a failure."""
    made: dict[str, str] = {}
    if record.get("layers"):
        made["layers.csv"] = table(record["layers"])
    if record.get("traceback"):
        made["traceback.txt"] = record["traceback"]
    return made


def fits(folder: Path) -> dict[str, str]:
    """Every fit of every layer as one table; nothing where there are no spectra."""
    path = folder / FILES[0]
    if not path.exists():
        return {}
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        rows = json.loads(str(arrays["fits"])) if "fits" in arrays.files else []
    return {"fits.csv": table(rows)} if rows else {}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, columns in the order in which they first appear."""
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
