"""A storage seen from outside: which sweeps there are, how far they are, what happened to a trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import nodes, records, storage
from sweeps.errors import StorageError, StorageFull, StorageUnusable, SweepNotFound
from sweeps.failures import failures
from sweeps.lease import lease
from sweeps.origin import Root
from sweeps.status import Status

if TYPE_CHECKING:
    from sweeps.tracking import Lag


def sweeps_of(root: Root = None) -> list[dict[str, Any]]:
    """A row a sweep: trials, replicates planned and recorded; of one that can not be read why, as `damaged`.

    Raises:
        StorageError: What is given as the storage is no folder.
    """
    place = storage.resolve(root)
    storage.require_folder(place, explicit=bool(root))
    rows = []
    for name in storage.sweeps_in(place):
        storage.refresh(place / name)
        try:
            rows.append(_row(name, *_counts(place / name)))
        except StorageUnusable:
            raise
        except StorageError as error:
            rows.append(dict.fromkeys(("sweep", *COUNTED)) | {"sweep": name, "damaged": str(error)})
    return rows


COUNTED = ("trials", "replicates", "recorded")


def _row(name: str, counts: Counter[str], planned: list[Any]) -> dict[str, Any]:
    recorded = sum(n for state, n in counts.items() if state not in ("new", "started"))
    return {"sweep": name} | dict(zip(COUNTED, (len(planned), counts.total(), recorded), strict=True))


def _counts(sweep: Path) -> tuple[Counter[str], list[Any]]:
    """States of all planned replicates."""
    planned = records.read_plan(sweep)["trials"]
    counts: Counter[str] = Counter()
    for trial in planned:
        for replicate in trial["replicates"]:
            folder = records.replicate_folder(sweep, trial["trial_id"], replicate["replicate_id"])
            status = records.status_of(folder)
            counts[status or ("started" if (folder / records.HISTORY).exists() else "new")] += 1
    return counts, planned


def status_of(name: str, root: Root = None) -> dict[str, Any]:
    """How far a sweep is."""
    place = storage.resolve(root)
    sweep = storage.sweep_folder(place, name)
    from sweeps.tracking import lag

    counts, planned = _counts(sweep)
    behind = lag.read(sweep)
    return {
        **_row(name, counts, planned),
        "storage": storage.shown(place),
        "tracking": str(behind) if behind else "not projected to MLflow yet",
        "states": {str(state): count for state, count in sorted(counts.items())},
        **_failed(sweep, counts, planned),
        **_at_target(sweep, counts, planned),
        "workers_lost": nodes.losses(sweep),
        **({"faults": " ".join(faults)} if (faults := nodes.told(sweep)) else {}),
    }


def _failed(sweep: Path, counts: Counter[str], planned: list[Any]) -> dict[str, Any]:
    """Why replicates failed; nothing where none has."""
    if not counts[Status.FAILED]:
        return {}
    names = ((trial["trial_id"], one["replicate_id"]) for trial in planned for one in trial["replicates"])
    return {"failures": [failure._asdict() for failure in failures(sweep, names)]}


def _at_target(sweep: Path, counts: Counter[str], planned: list[Any]) -> dict[str, Any]:
    """Trials that stopped as they reached their target; nothing where none has."""
    if not counts[Status.STOPPED]:
        return {}
    from sweeps.stopping import successes

    found = successes(sweep, {trial["trial_id"] for trial in planned})
    plain = [{"trial": name, "epoch": stop.epoch, "reason": stop.reason} for name, stop in found.items()]
    return {"at_target": plain} if plain else {}


def trial_in(sweep: Path, trial: str) -> Path:
    """Folder of a trial whose name begins so.

    Raises:
        SweepNotFound: No trial begins with that name, or several do.
    """
    found = sorted(path for path in (sweep / "trials").glob("*") if path.name.startswith(trial))
    if len(found) != 1:
        known = ", ".join(path.name for path in found or sorted((sweep / "trials").glob("*"))[:20]) or "none yet"
        what = "several trials begin" if found else "no trial begins"
        raise SweepNotFound(f"{what} with {trial!r} in {sweep.name}; there: {known}")
    return found[0]


def log_of(name: str, trial: str, root: Root = None) -> str:
    """The story of a trial: per replicate its status, reason, history, and the traceback of a failure.

    Raises:
        SweepNotFound: No trial begins with that name, or several do.
    """
    sweep = storage.sweep_folder(storage.resolve(root), name)
    found = trial_in(sweep, trial)
    folders = [folder for folder in records.folders(sweep) if folder.parent == found]
    return "\n\n".join(_story(folder) for folder in folders) or f"{found.name}: nothing trained yet"


def failures_of(name: str, root: Root = None) -> str:
    """The story of every replicate that failed or diverged; without any, a sentence that says so."""
    sweep = storage.sweep_folder(storage.resolve(root), name)
    broken = (Status.FAILED, Status.DIVERGED)
    stories = [_story(folder) for folder in records.folders(sweep) if records.status_of(folder) in broken]
    return "\n\n".join(stories) or f"nothing failed in {name}; sweeps logs {name} TRIAL tells of a trial"


def _story(folder: Path) -> str:
    """How a replicate went; attempts before the latest, with their tracebacks, come last."""
    earlier = [_attempt(folder, number, record) for number, record in enumerate(records.attempts(folder), start=1)]
    return "\n\n".join([_latest(folder), *earlier])


def _attempt(folder: Path, number: int, record: records.Record) -> str:
    said = f"{folder.parent.name}/{folder.name}, attempt {number}: {record['status']}, {record['reason']}"
    return "\n".join([said, *([record["traceback"].rstrip()] if record.get("traceback") else [])])


def _latest(folder: Path) -> str:
    record = records.read_record(folder)
    lines = [f"{folder.parent.name}/{folder.name}: {record['status'] if record else 'not finished'}"]
    if record:
        lines += [f"  seeds {record['seeds']}", *([f"  reason {record['reason']}"] if record["reason"] else [])]
        lines += [f"  {text}" for text in _beginnings(record)]
    lines += [f"  {_epoch(row)}" for row in records.read_history(folder)]
    if record and record.get("traceback"):
        lines += ["", record["traceback"].rstrip()]
    return "\n".join(lines)


def _beginnings(record: records.Record) -> Iterator[str]:
    """Where its training began, and went on."""
    if origin := record.get("forked_from"):
        yield f"forked from {origin['trial_id']} after epoch {origin['epoch']}"
    if epochs := record.get("resumed_at"):
        yield f"resumed after epoch {', '.join(map(str, epochs))}"


def _epoch(row: dict[str, Any]) -> str:
    numbers = (f"{k} {v:.5g}" for k, v in row.items() if isinstance(v, int | float) and k not in ("epoch", "time"))
    return f"epoch {row['epoch']}: " + ", ".join(numbers)


def sync_sweep(
    name: str, root: Root = None, uri: str | None = None, *, follow: bool = False, rebuild: bool = False
) -> Lag:
    """Project a sweep's records into MLflow; returns what could not be."""
    from sweeps.tracking import project
    from sweeps.tracking.store import sweep_uri

    place = storage.resolve(root)
    storage.sweep_folder(place, name)
    return project(place, name, sweep_uri(place, name, uri), follow=follow, rebuild=rebuild)


def delete_sweep(name: str, root: Root = None, uri: str | None = None) -> None:
    """Delete the runs of a sweep, then its records: a crash in between leaves records, which are the truth.

    Raises:
        SweepIsDriven: Somebody drives it; says who, and what to do.
        TrackingError: MLflow does not answer, or somebody still writes to it of the sweep.
    """
    from sweeps.tracking.session import delete
    from sweeps.tracking.store import sweep_uri

    place = storage.resolve(root)
    sweep = storage.sweep_folder(place, name)
    held = None
    with ExitStack() as stack:
        with suppress(StorageFull):  # only who has found it free writes; and what is deleted makes room
            held = stack.enter_context(lease(sweep, then="delete it then"))
        delete(place, name, sweep_uri(place, name, uri))
        if held is not None:
            held.rest()
        storage.remove_folder(sweep)
