"""A recorded replicate is the same bits when it is trained again, and what differs is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sweeps import records
from sweeps.cli import app
from sweeps.data import load
from sweeps.errors import SweepError, SweepNotFound
from sweeps.planning import PlannedTrial, plan_trial
from sweeps.replay import replay
from sweeps.seeds import Seeds
from sweeps.trial import TrialRun
from tests.sweeps.small_trials import trial


def train(storage: Path, **changes: Any) -> PlannedTrial:
    """A recorded sweep of one trial with two replicates."""
    spec = trial(data={"kind": "synthetic", "train_examples": 300, "validation": 100}, **changes)
    data = load(spec.data)
    planned = plan_trial(spec, {}, data.fingerprint, [Seeds(0), Seeds(1)])
    run = TrialRun(planned, planned.replicates, data, sweep=storage / "once")
    while run.step() is not None:
        pass
    (storage / "once" / "spec.yaml").write_text("name: once\n")
    return planned


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PlannedTrial]:
    storage = tmp_path_factory.mktemp("replay")
    return storage, train(storage)


def ask(storage: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["replay", "once", *arguments, "--storage", str(storage)])
    return done.exit_code, done.output


def test_in_the_recorded_layout_the_history_is_equal(recorded: tuple[Path, PlannedTrial]) -> None:
    storage, planned = recorded
    status, said = ask(storage, planned.trial_id[:6], "--replicate", planned.replicates[1].replicate_id)
    assert status == 0
    assert "4 epochs compared, as one of a stack of 2 on cpu, 1 threads, float32 (as recorded)" in said
    assert "equal, bit for bit" in said
    assert "environment" not in said


def test_alone_equal_means_to_a_tolerance(recorded: tuple[Path, PlannedTrial]) -> None:
    storage, planned = recorded
    found = replay("once", planned.trial_id, planned.replicates[1].replicate_id, alone=True, root=storage)
    assert found.is_equal
    assert found.layout.startswith("alone on cpu")
    assert found.tolerance == 0.01
    strict = replay("once", planned.trial_id, alone=True, tolerance=0.0, root=storage)
    assert strict.is_equal == (strict.largest is None)


def test_what_differs_first_is_said_with_the_environment(tmp_path: Path) -> None:
    planned = train(tmp_path)
    folder = records.replicate_folder(tmp_path / "once", planned.trial_id, planned.replicates[0].replicate_id)
    rows = [json.loads(line) for line in (folder / records.HISTORY).read_text().splitlines()]
    rows[2]["weight_norm"] *= 1.25
    rows[3]["train_loss"] *= 2
    (folder / records.HISTORY).write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = json.loads((folder / records.RECORD).read_text())
    record["environment"]["versions"]["torch"] = "1.0"
    record["environment"]["threads"] = 7
    (folder / records.RECORD).write_text(json.dumps(record))
    status, said = ask(tmp_path, planned.trial_id, "--replicate", folder.name)
    assert status == 1
    assert "differs first at epoch 3, weight_norm: recorded " in said
    assert "relative difference 0.2" in said
    assert "largest: epoch 4, train_loss" in said
    assert "environment: torch was 1.0, is " in said
    assert "environment: threads was 7, is 1" in said


def test_a_divergence_is_replayed(tmp_path: Path) -> None:
    planned = train(tmp_path, training__optimiser={"kind": "sgd", "lr": 1e30})
    found = replay("once", planned.trial_id, root=tmp_path)
    assert found.is_equal
    assert found.ending == ("diverged", "diverged")


def test_what_is_not_there_is_said(recorded: tuple[Path, PlannedTrial], tmp_path: Path) -> None:
    storage, planned = recorded
    with pytest.raises(SweepNotFound, match="no trial begins with 'zz' in once; there: "):
        replay("once", "zz", root=storage)
    with pytest.raises(SweepNotFound, match=r"no recorded replicate begins with 'zz' in trial .*; there: "):
        replay("once", planned.trial_id, "zz", root=storage)


def test_other_data_are_refused(tmp_path: Path) -> None:
    planned = train(tmp_path)
    folder = records.replicate_folder(tmp_path / "once", planned.trial_id, planned.replicates[0].replicate_id)
    record = json.loads((folder / records.RECORD).read_text())
    record["config"]["data"]["seed"] = 1
    (folder / records.RECORD).write_text(json.dumps(record))
    with pytest.raises(SweepError, match="a replay needs the same data"):
        replay("once", planned.trial_id, folder.name, root=tmp_path)
