"""Trials with records under a folder, cut short and begun again, that tests of resuming and forking share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeps import records
from sweeps.planned import PlannedTrial
from sweeps.planning import plan_trial
from sweeps.seeds import Seeds
from sweeps.spec_means import Checkpoints
from sweeps.trial import TrialRun
from sweeps.trial_spec import TrialSpec
from tests.sweeps.small_trials import digits

SEEDS = [Seeds(0), Seeds(1)]
NEVER = Checkpoints(minutes=None)


def planned(spec: TrialSpec, seeds: Sequence[Seeds] = SEEDS) -> PlannedTrial:
    return plan_trial(spec, {}, digits().fingerprint, seeds)


def open_run(sweep: Path, trial: PlannedTrial, **options: Any) -> TrialRun:
    """What a worker that begins a trial does: all replicates without a final record."""
    wanted = [r for r in trial.replicates if not is_final(sweep, trial, r.replicate_id)]
    return TrialRun(trial, wanted, digits(), sweep=sweep, **{"checkpoints": NEVER, **options})


def is_final(sweep: Path, trial: PlannedTrial, replicate: str) -> bool:
    status = records.status_of(records.replicate_folder(sweep, trial.trial_id, replicate))
    return status is not None and status.is_final


def train(sweep: Path, trial: PlannedTrial, *, epochs: int | None = None, **options: Any) -> TrialRun:
    """Train to the end, or up to an epoch, as if the process were killed then."""
    run = open_run(sweep, trial, **options)
    while (epochs is None or run.epoch < epochs) and run.step() is not None:
        pass
    return run


def outcome(sweep: Path, trial: PlannedTrial) -> list[dict[str, Any]]:
    """All that is recorded of each replicate but times, and how it came about."""
    return [_told(records.replicate_folder(sweep, trial.trial_id, one.replicate_id)) for one in trial.replicates]


def _told(folder: Path) -> dict[str, Any]:
    record = records.read_record(folder)
    assert record is not None
    assert records.damaged(folder, record) == []
    assert "retrained_epochs_differing" not in record
    kept = ("status", "reason", "epochs", "layers", "measures", "config", "seeds")
    history = folder / records.HISTORY
    lines = [json.loads(line) for line in history.read_text().splitlines()] if history.exists() else []
    files = {name: digest for name, digest in record["files"].items() if name != records.HISTORY}
    return {name: record[name] for name in kept} | {
        "metrics": without_times(record["metrics"]),
        "files": files,
        "history": [without_times(line) for line in lines],
    }


def without_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "time" and not name.endswith("_seconds")}


def poison(run: TrialRun, place: int) -> None:
    """Let one replicate of a trial's first stack diverge in the next epoch."""
    training = run._stacks[0]._training
    assert training is not None
    training._stacks[0].values["head.bias"][place] = math.nan


def about(sweep: Path, trial: PlannedTrial, field: str) -> list[Any]:
    """One field of each replicate's record; None where a record does not have it."""
    found = [
        records.read_record(records.replicate_folder(sweep, trial.trial_id, one.replicate_id))
        for one in trial.replicates
    ]
    return [None if record is None else record.get(field) for record in found]


class Undisturbed:
    """Outcomes of trials that were trained in one go, each trained once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, trial: PlannedTrial) -> list[dict[str, Any]]:
        key = " ".join(one.replicate_id for one in trial.replicates)
        if key not in self._known:
            sweep = self._folder / str(len(self._known))
            train(sweep, trial)
            self._known[key] = outcome(sweep, trial)
        return self._known[key]
