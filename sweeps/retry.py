"""Replicates to train again because of how they ended: `sweeps run SPEC --retry failed`.

A launch trains what failed once more anyway, beside all that is new. `--retry` trains nothing else, and is the
only way to train a diverged replicate again. The record of the attempt before, with its traceback, is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sweeps import records, storage
from sweeps.errors import NewerFormat, StorageError
from sweeps.planned import PlannedReplicate, PlannedTrial
from sweeps.planning import Plan, Progress
from sweeps.status import Retry, Status


def begin(plan: Plan, sweep: Path, which: Retry) -> Progress:
    """Set the records aside that `which` asks for; returns what is to be trained then, which is these alone.

    One that a killed launch had set aside is asked for by the attempt it made before.
    """
    chosen = {r.replicate_id: (t, r) for t, r in _replicates(plan) if _is_asked_for(_folder(sweep, t, r), which)}
    for trial, replicate in chosen.values():
        folder = _folder(sweep, trial, replicate)
        if records.status_of(folder) is Status.DIVERGED:
            # What was saved after it had diverged would only say so again.
            storage.remove_folder(folder.parent / records.CHECKPOINT)
        if records.status_of(folder) is not None:
            records.set_aside(folder)
    return replace(plan.progress(sweep), only=frozenset(chosen))


def _replicates(plan: Plan) -> Iterator[tuple[PlannedTrial, PlannedReplicate]]:
    return ((trial, replicate) for trial in plan for replicate in trial.replicates)


def _folder(sweep: Path, trial: PlannedTrial, replicate: PlannedReplicate) -> Path:
    return records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id)


def _is_asked_for(folder: Path, which: Retry) -> bool:
    try:
        latest = records.read_record(folder) or next(reversed(records.attempts(folder)), None)
    except NewerFormat:
        raise
    except StorageError:  # torn: any launch trains it again
        return False
    return latest is not None and which.asks_for(latest)
