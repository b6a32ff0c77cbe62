"""Records: the durable files of a replicate, the source of truth for everything that is told about a sweep.

A replicate's folder holds its history while it trains; the other files come at the end and `record.json`, with
their digests, last: its presence is the record. So whatever dies, a folder is a whole record or plainly none.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeps import storage
from sweeps.errors import NewerFormat, StorageError
from sweeps.status import Status

FORMAT = 1
PLAN = "plan.json"
RECORD = "record.json"
HISTORY = "history.jsonl"
CHECKPOINT = "checkpoint"
"""Folder of a trial beside those of its replicates, while it trains."""
ATTEMPTS = "attempts"
"""Folder of a replicate with the records of earlier attempts: what failed, or was to be trained again."""
Record = dict[str, Any]


def trial_folder(sweep: Path, trial: str) -> Path:
    """Folder of a trial."""
    return sweep / "trials" / trial


def replicate_folder(sweep: Path, trial: str, replicate: str) -> Path:
    """Folder of a replicate."""
    return trial_folder(sweep, trial) / replicate


class Recorder:
    """Writes one replicate's folder: history lines as epochs end, the record when the replicate has."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._recorded = {row["epoch"]: row for row in mend_history(folder / HISTORY)}
        self.differing: list[int] = []

    def append(self, row: Mapping[str, Any]) -> None:
        """Add an epoch. The first durable line wins: a retrained epoch is compared with it, not written."""
        epoch = int(row["epoch"])
        if epoch in self._recorded:
            if not _equal(self._recorded[epoch], row):
                self.differing.append(epoch)
            return
        line = storage.finite({"epoch": epoch, "time": int(time.time() * 1000), **row})
        storage.append(self.folder / HISTORY, json.dumps(line, allow_nan=False) + "\n")
        self._recorded[epoch] = line

    def finish(self, record: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        """Write the files, then the record that vouches for them."""
        for name, content in files.items():
            storage.write_atomically(self.folder / name, content)
        digests = {name: _sha256(content) for name, content in files.items()}
        history = self.folder / HISTORY
        if history.exists():
            digests[HISTORY] = _sha256(history.read_bytes())
        retrained = {"retrained_epochs_differing": self.differing} if self.differing else {}
        if status_of(self.folder) is Status.FAILED:
            _keep(self.folder, (self.folder / RECORD).read_bytes())
        storage.write_json(
            self.folder / RECORD,
            {"format": FORMAT, **record, **retrained, "files": dict(sorted(digests.items()))},
        )


def _equal(line: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether two trainings of an epoch gave the same numbers; what they took is not one of them."""
    plain = storage.finite({name: value for name, value in row.items() if not name.endswith("_seconds")})
    return all(line.get(name) == value for name, value in plain.items())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_plan(sweep: Path) -> dict[str, Any]:
    """The plan that a sweep was last launched with; no trials where it never was.

    Raises:
        StorageError: It is damaged; says which file, and what writes it anew.
    """
    path = sweep / PLAN
    try:
        plan: Any = json.loads(path.read_bytes())
        if not isinstance(plan["trials"], list):
            raise TypeError("its trials are no list")
    except FileNotFoundError:
        return {"trials": []}
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{storage.shown(path)} is damaged ({error!r}); sweeps run with the sweep's spec writes it anew and "
            "trains nothing again that is recorded"
        ) from None
    found: dict[str, Any] = plan
    return found


def read_record(folder: Path) -> Record | None:
    """The record of a replicate; None when the folder holds none (yet).

    Raises:
        StorageError: The record is not readable or of a newer format.
    """
    try:
        record: Record = json.loads((folder / RECORD).read_bytes())
        written = int(record["format"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{folder / RECORD} is damaged ({error!r}); launching trains the replicate again"
        ) from None
    if written > FORMAT:
        raise NewerFormat(f"{folder / RECORD} has format {written}; this version reads up to {FORMAT}: upgrade it")
    return record


def status_of(folder: Path) -> Status | None:
    """How a replicate ended; None while it has no record, or a torn one that has to be made again.

    Raises:
        NewerFormat: The record is of a newer version, and would be lost if it were made again.
    """
    try:
        record = read_record(folder)
    except NewerFormat:
        raise
    except StorageError:
        return None
    return Status(record["status"]) if record else None


def is_damaged(folder: Path) -> bool:
    """Whether the record of a replicate is there and can not be read, so that it has to be made again."""
    return status_of(folder) is None and (folder / RECORD).exists()


def set_aside(folder: Path) -> None:
    """Keep the record of a replicate as an earlier attempt, so that launching trains it again."""
    path = folder / RECORD
    _keep(folder, path.read_bytes())
    storage.remove(path)


def _keep(folder: Path, content: bytes) -> None:
    """Keep a record as the latest attempt, unless a crash came between that and what was to follow."""
    kept = _kept(folder)
    if not kept or kept[-1].read_bytes() != content:
        storage.write_atomically(folder / ATTEMPTS / f"{len(kept) + 1}.json", content)


def _kept(folder: Path) -> list[Path]:
    paths = (path for path in (folder / ATTEMPTS).glob("*.json") if path.stem.isdecimal())
    return sorted(paths, key=lambda path: int(path.stem))


def attempts(folder: Path) -> list[Record]:
    """The records of earlier attempts at a replicate, oldest first."""
    return [json.loads(path.read_bytes()) for path in _kept(folder)]


def damaged(folder: Path, record: Record) -> list[str]:
    """Names of the files that are missing or differ from the record's digests."""
    return [
        name
        for name, digest in record["files"].items()
        if not storage.at_hand(folder / name).is_file() or _sha256((folder / name).read_bytes()) != digest
    ]


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Lines of a history, one an epoch; a line torn by a crash is left out."""
    path = folder / HISTORY
    if not path.exists():
        return []
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_bytes().split(b"\n"):
        row = _parse(line)
        if row is not None:
            rows.setdefault(row["epoch"], row)
    return list(rows.values())


def mend_history(path: Path) -> list[dict[str, Any]]:
    """Cut off a torn last line, so that the next one does not continue it; returns the whole lines."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        storage.write_atomically(path, whole)
    return read_history(path.parent)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "epoch" in row else None


def folders(sweep: Path) -> Iterator[Path]:
    """Folders of all replicates of a sweep that have begun."""
    return (path for path in sorted(sweep.glob("trials/*/*")) if path.is_dir() and path.name != CHECKPOINT)


def records(sweep: Path) -> Iterator[Record]:
    """All records of a sweep."""
    for folder in folders(sweep):
        record = read_record(folder)
        if record is not None:
            yield record
