"""A recorded replicate is the same bits when it is trained again, and what differs is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from sweeps import layout, records
from sweeps.cli import app
from sweeps.data import load
from sweeps.errors import SweepError, SweepNotFound
from sweeps.planned import PlannedTrial
from sweeps.planning import plan_trial
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
    assert f"diverged as recorded: {found.recorded.reason}" in list(found.lines())


def test_a_divergence_in_another_step_is_told(tmp_path: Path) -> None:
    planned = train(tmp_path, training__optimiser={"kind": "sgd", "lr": 1e30})
    folder = records.replicate_folder(tmp_path / "once", planned.trial_id, planned.replicates[0].replicate_id)
    record = json.loads((folder / records.RECORD).read_text())
    reason, record["reason"] = record["reason"], "the loss is nan in epoch 1, step 900 of 999"
    (folder / records.RECORD).write_text(json.dumps(record))
    status, said = ask(tmp_path, planned.trial_id, "--replicate", "0")
    assert status == 1
    assert "there is no number to compare" in said
    assert f"recorded as diverged ({record['reason']}) after 0 epochs; it ended as diverged ({reason})" in said


def copied(recorded: tuple[Path, PlannedTrial], to: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of the recorded sweep: the folder of its first replicate, and the record in it."""
    storage, planned = recorded
    shutil.copytree(storage, to, dirs_exist_ok=True)
    folder = records.replicate_folder(to / "once", planned.trial_id, planned.replicates[0].replicate_id)
    return folder, json.loads((folder / records.RECORD).read_text())


def test_a_record_of_fewer_epochs_is_not_equal(recorded: tuple[Path, PlannedTrial], tmp_path: Path) -> None:
    folder, _ = copied(recorded, tmp_path)
    lines = (folder / records.HISTORY).read_text().splitlines(keepends=True)
    (folder / records.HISTORY).write_text("".join(lines[:3]))
    found = replay("once", folder.parent.name, 0, root=tmp_path)
    assert not found.is_equal
    assert "recorded as finished after 3 epochs; it ended as finished after 4 epochs" in list(found.lines())


def test_nothing_is_called_equal_that_was_not_compared(
    recorded: tuple[Path, PlannedTrial], tmp_path: Path
) -> None:
    folder, record = copied(recorded, tmp_path)
    (folder / records.HISTORY).write_text("")
    record |= {"status": "failed", "reason": "RuntimeError: lost", "epochs": 0, "metrics": {}, "files": {}}
    (folder / records.RECORD).write_text(json.dumps(record | {"layers": []}))
    status, said = ask(tmp_path, folder.parent.name, "--replicate", "0")
    assert status == 1
    assert "there is no number to compare" in said
    assert "recorded as failed (RuntimeError: lost): only the epochs before were trained again" in said
    assert "equal" not in said


def test_measures_layers_and_files_of_the_end_are_compared(
    recorded: tuple[Path, PlannedTrial], tmp_path: Path
) -> None:
    folder, record = copied(recorded, tmp_path)
    record["layers"][1]["parameters"] *= 2
    record["measures"]["made_up"] = 1.0
    record["files"]["test_correct.bin"] = "0" * 64
    (folder / records.RECORD).write_text(json.dumps(record))
    status, said = ask(tmp_path, folder.parent.name, "--replicate", "0")
    assert status == 1
    assert "differs first at epoch 4, layers.1.parameters: recorded " in said
    assert "not the recorded content: test_correct.bin" in said
    assert "not compared: measures.made_up, only recorded" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="what was trained on a GPU is trained there again")
def test_a_replay_without_the_recorded_gpu_is_not_as_recorded(
    recorded: tuple[Path, PlannedTrial], tmp_path: Path
) -> None:
    folder, _ = copied(recorded, tmp_path)
    stacks = json.loads((folder.parent / layout.LAYOUT).read_text())
    for stack in stacks["stacks"]:
        stack["device"] = "cuda"
    (folder.parent / layout.LAYOUT).write_text(json.dumps(stacks))
    found = replay("once", folder.parent.name, 0, root=tmp_path)
    assert "(not as recorded: there is no cuda here, and sums are taken in another order)" in found.layout
    assert found.tolerance == 0.01


def test_what_is_not_there_is_said(recorded: tuple[Path, PlannedTrial], tmp_path: Path) -> None:
    storage, planned = recorded
    with pytest.raises(SweepNotFound, match="no trial begins with 'zz' in once; there: "):
        replay("once", "zz", root=storage)
    with pytest.raises(SweepNotFound, match=r"no recorded replicate begins with 'zz' in trial .*; there: "):
        replay("once", planned.trial_id, "zz", root=storage)
    with pytest.raises(SweepNotFound, match=r"no replicate 2 in trial .*; recorded are 0 to 1"):
        replay("once", planned.trial_id, 2, root=storage)
    status, said = ask(storage, planned.trial_id, "--replicate", "1")
    assert status == 0
    assert f"{planned.trial_id}/{planned.replicates[1].replicate_id}: 4 epochs" in said


def test_other_data_are_refused(tmp_path: Path) -> None:
    planned = train(tmp_path)
    folder = records.replicate_folder(tmp_path / "once", planned.trial_id, planned.replicates[0].replicate_id)
    record = json.loads((folder / records.RECORD).read_text())
    record["config"]["data"]["seed"] = 1
    (folder / records.RECORD).write_text(json.dumps(record))
    with pytest.raises(SweepError, match="a replay needs the same data"):
        replay("once", planned.trial_id, folder.name, root=tmp_path)
