"""The log of a sweep's launches: what each set out to do and what came of it, `launches/STARTED.json`.

What was planned is written before anything trains, what came of it when the launch ends; each time the whole file
or nothing. A launch that was killed has left no outcome, and the records say what it trained.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeps import nodes, records, storage
from sweeps.errors import StorageError
from sweeps.planned import PlannedReplicate, PlannedTrial
from sweeps.planning import FINAL, Plan, Progress
from sweeps.price_quote import quote
from sweeps.status import Status

FOLDER = "launches"
Entry = dict[str, Any]


def begin(sweep: Path, made: Plan, progress: Progress) -> Entry:
    """Write down what a launch sets out to do; nothing is written where there is nothing to do."""
    left = [len(wanted) for trial in made if (wanted := progress.to_train(trial))]
    entry: Entry = {
        "started": int(time.time() * 1000),
        "planned": {
            "trials": len(made),
            "replicates": made.replicates,
            "trials_to_train": len(left),
            "replicates_to_train": sum(left),
            "states": dict(progress.counts),
            "chosen_as_it_goes": made.search is not None,
        },
    }
    if left and made.search is None:
        found = quote(made, progress, sweep)
        starts = len(found.forks.starts)
        epochs = {"trials": starts, "saved_epochs": found.forks.saved, "epochs": found.forks.total}
        entry["planned"] |= {"forks": epochs, "price": found.price.document()}
    if left or made.search is not None:
        storage.write_json(_path(sweep, entry), entry)
    return entry


def end(
    sweep: Path, entry: Entry, made: Plan, before: Progress, *, complete: bool, why: str, wall_seconds: float
) -> int:
    """Write down what came of a launch, from the records that it left.

    Args:
        sweep: Folder of the sweep.
        entry: As `begin` gave it.
        made: The plan as it is now.
        before: What was recorded when the launch began.
        complete: Whether the plan came to its end.
        why: Why not.
        wall_seconds: Of training, with starting Ray.

    Returns:
        Replicates that the launch has tried, whoever wrote their records: their worker, one that was lost since,
        or the driver.
    """
    statuses: Counter[str] = Counter()
    forked = continued = epochs = retried = 0
    first, last = float("inf"), 0.0
    for trial, replicate in _open_before(made, before):
        record = _of_this(records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id), entry)
        if record is None:
            continue
        statuses[record["status"]] += 1
        origin = record.get("forked_from") or {}
        forked += bool(origin)
        continued += bool(record.get("resumed_at"))
        retried += before.states.get(replicate.replicate_id) == Status.FAILED
        epochs += int(record["epochs"]) - int(origin.get("epoch", 0))
        first, last = min(first, record["started"]), max(last, record["ended"])
    tried = statuses.total()
    if not _path(sweep, entry).exists():
        return tried
    outcome = {
        "ended": int(time.time() * 1000),
        "complete": complete,
        "why": why,
        "wall_seconds": wall_seconds,
        "training_seconds": max(0.0, last - max(first, entry["started"])) / 1000 if statuses else 0.0,
        "trials": len(made),
        "replicates": made.replicates,
        "statuses": dict(statuses),
        "forked": forked,
        "continued": continued,
        "retried": retried,
        "workers_lost": nodes.losses(sweep, entry["started"]),
        "epochs": epochs,
    }
    storage.write_json(_path(sweep, entry), entry | {"outcome": outcome})
    return tried


def read(sweep: Path) -> list[Entry]:
    """Entries of all launches that had something to do, oldest first; one that can not be read is left out."""
    found = []
    for path in sorted((sweep / FOLDER).glob("*.json")):
        try:
            entry = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(entry, dict) and "planned" in entry:
            found.append(entry)
    return found


def _path(sweep: Path, entry: Entry) -> Path:
    return sweep / FOLDER / f"{entry['started']}.json"


def _open_before(made: Plan, before: Progress) -> Iterator[tuple[PlannedTrial, PlannedReplicate]]:
    for trial in made:
        for replicate in trial.replicates:
            if before.states.get(replicate.replicate_id) not in FINAL:
                yield trial, replicate


def _of_this(folder: Path, entry: Entry) -> records.Record | None:
    """The record of a replicate if this launch made it."""
    try:
        record = records.read_record(folder)
    except StorageError:
        return None
    return record if record is not None and record["ended"] >= entry["started"] else None
