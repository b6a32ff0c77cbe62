"""What is cut short goes on from its checkpoint, and ends as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps import records
from sweeps.planned import PlannedTrial
from sweeps.seeds import Seeds
from sweeps.spec_means import Checkpoints
from tests.sweeps.small_sweeps import Undisturbed, about, open_run, outcome, planned, poison, train
from tests.sweeps.small_trials import trial

EVERY_SECOND = Checkpoints(minutes=None, epochs=2)
MOMENTUM = {"kind": "sgd", "lr": 0.05, "momentum": 0.9}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


def checkpoints(sweep: Path, one: PlannedTrial) -> list[Path]:
    return sorted((records.trial_folder(sweep, one.trial_id) / "checkpoint").rglob("epoch-*.json"))


@pytest.mark.parametrize("optimiser", [MOMENTUM, {"kind": "adam", "lr": 0.003}], ids=lambda o: str(o["kind"]))
def test_a_trial_that_is_killed_after_a_checkpoint_ends_with_the_same_bits(
    optimiser: dict[str, Any], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Cuts before and after the checkpoint; the epoch beyond it is trained again, its line not written twice."""
    one = planned(trial(training__optimiser=optimiser))
    train(tmp_path / "killed", one, epochs=3, checkpoints=EVERY_SECOND)
    assert [path.name for path in checkpoints(tmp_path / "killed", one)] == ["epoch-2.json"]
    run = open_run(tmp_path / "killed", one)
    row = run.step()
    assert row is not None
    assert row["epoch"] == 3
    while run.step() is not None:
        pass
    assert outcome(tmp_path / "killed", one) == undisturbed(one)
    assert about(tmp_path / "killed", one, "resumed_at") == [[2], [2]]
    assert checkpoints(tmp_path / "killed", one) == []


def test_an_interrupted_trial_is_saved_where_it_is_and_a_short_one_costs_no_checkpoint(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    one = planned(trial())
    run = train(tmp_path / "cut", one, epochs=3, checkpoints=Checkpoints())
    assert checkpoints(tmp_path / "cut", one) == []
    run.save()
    train(tmp_path / "cut", one)
    assert about(tmp_path / "cut", one, "resumed_at") == [[3], [3]]
    assert outcome(tmp_path / "cut", one) == undisturbed(one)


def test_minutes_and_epochs_say_how_often(tmp_path: Path) -> None:
    one = planned(trial())
    train(tmp_path, one, epochs=3, checkpoints=Checkpoints(minutes=1e-9))
    assert [path.name for path in checkpoints(tmp_path, one)] == ["epoch-3.json"]


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def torn_tensors(path: Path) -> None:
    torn(path.with_suffix(".safetensors"))


def newer(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def changed(path: Path) -> None:
    path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 1', 1))


def without_tensors(path: Path) -> None:
    path.with_suffix(".safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (torn, "is left aside"),
        (torn_tensors, "epoch-2.safetensors is damaged"),
        (newer, "it has format 99, this version reads 1"),
        (changed, "it is damaged"),
        (without_tensors, "No such file"),
    ],
)
def test_a_checkpoint_that_can_not_be_used_is_left_aside_with_a_word(
    damage: Callable[[Path], None],
    said: str,
    undisturbed: Undisturbed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = planned(trial(training__epochs=3))
    train(tmp_path / "cut", one, epochs=2, checkpoints=EVERY_SECOND)
    damage(checkpoints(tmp_path / "cut", one)[0])
    train(tmp_path / "cut", one)
    assert said in caplog.text
    assert about(tmp_path / "cut", one, "resumed_at") == [None, None]
    assert outcome(tmp_path / "cut", one) == undisturbed(one)


def test_a_checkpoint_of_another_trial_is_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, other = planned(trial(training__epochs=3)), planned(trial(training__epochs=3, training__l1=0.01))
    train(tmp_path, other, epochs=2, checkpoints=EVERY_SECOND)
    foreign = records.trial_folder(tmp_path, other.trial_id)
    foreign.rename(foreign.with_name(one.trial_id))
    train(tmp_path, one)
    assert f"it is of trial {other.trial_id}" in caplog.text
    assert about(tmp_path, one, "resumed_at") == [None, None]


def test_where_no_checkpoint_can_be_written_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = planned(trial())
    run = open_run(tmp_path, one, checkpoints=Checkpoints(minutes=None, epochs=1))
    (records.trial_folder(tmp_path, one.trial_id) / "checkpoint").write_text("in the way")
    while run.step() is not None:
        pass
    assert "no checkpoint of epoch 1" in caplog.text
    assert about(tmp_path, one, "status") == ["finished", "finished"]


def test_a_lost_line_is_written_again_from_the_checkpoint(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """A power cut can lose lines that were written before a checkpoint that was not lost."""
    one = planned(trial())
    train(tmp_path / "cut", one, epochs=2, checkpoints=EVERY_SECOND)
    history = records.replicate_folder(tmp_path / "cut", one.trial_id, one.replicates[0].replicate_id)
    torn(history / records.HISTORY)
    train(tmp_path / "cut", one)
    assert outcome(tmp_path / "cut", one) == undisturbed(one)


def test_a_stack_with_one_lost_record_goes_on_whole_and_a_diverged_member_stays_diverged(tmp_path: Path) -> None:
    one = planned(trial(), [Seeds(0), Seeds(1), Seeds(2)])
    for name in ("whole", "cut"):
        run = open_run(tmp_path / name, one, checkpoints=EVERY_SECOND)
        run.step()
        poison(run, 1)
        while run.step() is not None and not (name == "cut" and run.epoch == 3):
            pass
    diverged = records.replicate_folder(tmp_path / "cut", one.trial_id, one.replicates[1].replicate_id)
    (diverged / records.RECORD).unlink()
    train(tmp_path / "cut", one)
    assert about(tmp_path / "cut", one, "status") == ["finished", "diverged", "finished"]
    assert outcome(tmp_path / "cut", one) == outcome(tmp_path / "whole", one)


def test_stacks_that_were_saved_at_different_epochs_report_the_same_epoch(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    one = planned(trial(), [Seeds(0, 0), Seeds(0, 1)])
    train(tmp_path / "cut", one, epochs=2, checkpoints=EVERY_SECOND)
    checkpoints(tmp_path / "cut", one)[0].unlink()
    run = open_run(tmp_path / "cut", one)
    reported = []
    while (row := run.step()) is not None:
        reported.append(row["epoch"])
    assert reported == [1, 2, 3, 4]
    assert [2] in about(tmp_path / "cut", one, "resumed_at")
    assert None in about(tmp_path / "cut", one, "resumed_at")
    assert outcome(tmp_path / "cut", one) == undisturbed(one)


def test_a_stopped_trial_can_go_on(undisturbed: Undisturbed, tmp_path: Path) -> None:
    one = planned(trial())
    train(tmp_path / "cut", one, epochs=2).stop("enough")
    assert about(tmp_path / "cut", one, "status") == ["stopped", "stopped"]
    train(tmp_path / "cut", one)
    assert about(tmp_path / "cut", one, "resumed_at") == [[2], [2]]
    assert outcome(tmp_path / "cut", one) == undisturbed(one)


def test_time_in_which_nobody_trained_is_not_counted(tmp_path: Path) -> None:
    one = planned(trial())
    run = train(tmp_path, one, epochs=2)
    run.save()
    path = checkpoints(tmp_path, one)[0]
    first = json.loads(path.read_text())["content"]["started"]
    train(tmp_path, one)
    for started, ended, seconds in zip(
        *(about(tmp_path, one, field) for field in ("started", "ended", "wall_seconds")), strict=True
    ):
        assert started == first
        assert 0 < seconds <= (ended - started) / 1000
