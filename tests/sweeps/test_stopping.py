"""Decisions to stop: made from records, kept beside them, the same after a crash; bad input is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeps import best, records
from sweeps.cli import show
from sweeps.data import load
from sweeps.errors import SpecError, SweepNotFound
from sweeps.launch import Launch, _write_plan
from sweeps.overview import status_of
from sweeps.planned import PlannedTrial
from sweeps.planning import Plan, make_plan
from sweeps.spec import SweepSpec, build_spec
from sweeps.stopping import STOP, Judge, settle, stop_of, successes
from sweeps.trainable import pending
from sweeps.trial import TrialRun

EPOCHS = 8


def spec_of(stopper: dict[str, Any] | None, **changes: Any) -> SweepSpec:
    """Three pruned trials, of which one does not learn and one diverges, and their twins."""
    plain: dict[str, Any] = {
        "name": "stopped",
        "trial": {
            "data": {"kind": "digits", "validation": 200, "train_size": 200},
            "model": {"kind": "mlp", "widths": [16]},
            "training": {"epochs": EPOCHS, "batch_size": 50},
            "prune": {"every": 3},
        },
        "space": {"training.optimiser.lr": {"grid": [0.2, 1e-9, 1e30]}},
        "replicates": {"initialisation": 3},
        "stopper": stopper,
    }
    return build_spec(plain | changes)


def plan_of(spec: SweepSpec) -> Plan:
    return make_plan(spec, lambda data: load(data).fingerprint)


def train(
    plan: Plan, sweep: Path, judge: Judge | None, *, epochs: int | None = None, only: set[str] | None = None
) -> int:
    """What a worker does, trial after trial in this process; stops dead after `epochs` in all."""
    done = 0
    for trial in plan:
        if only is not None and trial.trial_id not in only:
            continue
        wanted = pending(sweep, trial, since=0)
        if not wanted:
            continue
        run = TrialRun(trial, wanted, load(trial.spec.data), sweep=sweep)
        while True:
            stop = stop_of(sweep, trial.trial_id)
            if stop is not None and run.open() >= stop.epoch:
                run.stop(stop.reason)
            if run.step() is None:
                break
            done += 1
            if done == epochs:
                return done
            if judge is not None:
                judge.report(trial)
    return done


def launch(plan: Plan, sweep: Path, **given: Any) -> int:
    settle(plan.spec, sweep, plan)
    judge = None
    if plan.spec.stopper is not None:
        judge = Judge(plan.spec, sweep, plan)
        progress = plan.progress(sweep)
        for trial in plan:
            if progress.to_train(trial):
                judge.catch_up(trial)
    return train(plan, sweep, judge, **given)


def learning_rate(trial: PlannedTrial) -> float:
    rate: float = trial.spec.training.optimiser.options["lr"]
    return rate


def ends(plan: Plan, sweep: Path) -> dict[tuple[str, float], tuple[set[str], int]]:
    """By role and learning rate: how the replicates ended, and after how many epochs at most."""
    found = {}
    for trial in plan:
        folders = [records.replicate_folder(sweep, trial.trial_id, r.replicate_id) for r in trial.replicates]
        recorded = [record for folder in folders if (record := records.read_record(folder))]
        statuses = {record["status"] for record in recorded}
        found[trial.role, learning_rate(trial)] = statuses, max((r["epochs"] for r in recorded), default=0)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "stopper",
    [
        {"kind": "asha", "grace": 2, "reduction": 2},
        {"kind": "hyperband", "grace": 5, "reduction": 2},  # a single bracket: twice the grace is past the end
        {"kind": "median", "least": 1},
        {"kind": "plateau", "patience": 3, "min_gain": 0.05},
        {"kind": "statistical", "level": 0.8},
    ],
    ids=lambda stopper: stopper["kind"],
)
def test_the_trial_that_does_not_learn_is_stopped_and_its_twin_is_not(stopper, tmp_path):
    plan = plan_of(spec_of(stopper))
    launch(plan, tmp_path / "stopped")
    found = ends(plan, tmp_path / "stopped")
    statuses, epochs = found["pruned", 1e-9]
    assert statuses == {"stopped"}
    assert epochs < EPOCHS
    assert found["twin", 1e-9] == ({"finished"}, EPOCHS)
    assert found["twin", 0.2] == ({"finished"}, EPOCHS)
    assert found["pruned", 1e30][0] == {"diverged"}
    assert stopper["kind"] == "plateau" or found["pruned", 0.2][0] == {"finished"}
    record = next(r for r in records.records(tmp_path / "stopped") if r["status"] == "stopped")
    assert record["reason"].startswith(f"{stopper['kind']} by validation_accuracy mean: ")
    assert f"epoch {epochs}" in record["reason"] or "for 3 epochs" in record["reason"]


def decisions(plan: Plan, sweep: Path) -> dict[str, Any]:
    return {t.trial_id: vars(stop) for t in plan if (stop := stop_of(sweep, t.trial_id)) is not None}


@pytest.mark.slow
def test_after_a_crash_anywhere_the_decisions_and_histories_are_the_same(tmp_path):
    stopper = {"kind": "asha", "grace": 2, "reduction": 2}
    space = {"training.optimiser.lr": {"grid": [0.003, 0.2, 0.01, 0.0001]}}
    plan = plan_of(spec_of(stopper, space=space, baseline=False))
    whole = launch(plan, tmp_path / "whole")
    expected = decisions(plan, tmp_path / "whole")
    assert 0 < len(expected) < len(plan)
    for crash in range(3, whole, 5):
        sweep = tmp_path / f"after {crash}"
        launch(plan, sweep, epochs=crash)
        launch(plan, sweep)
        assert decisions(plan, sweep) == expected
        assert histories(sweep) == histories(tmp_path / "whole")


def histories(sweep: Path) -> dict[str, Any]:
    keep = ("epoch", "validation_accuracy", "train_loss")
    return {
        folder.name: [[row[name] for name in keep] for row in records.read_history(folder)]
        for folder in records.folders(sweep)
    }


@pytest.mark.slow
def test_a_stop_stands_with_its_stopper_and_is_judged_again_by_another(tmp_path):
    sweep = tmp_path / "stopped"
    asha = plan_of(spec_of({"kind": "asha", "grace": 2, "reduction": 2}))
    launch(asha, sweep)
    stopped = set(decisions(asha, sweep))
    assert len(stopped) == 1
    assert asha.progress(sweep).counts["stopped"] == 3
    assert not any(asha.progress(sweep).to_train(trial) for trial in asha)
    assert launch(asha, sweep) == 0

    harsher = plan_of(spec_of({"kind": "median", "least": 1}))
    assert not any(harsher.progress(sweep).to_train(trial) for trial in harsher), "it stops the same trial"
    assert launch(harsher, sweep) == 0

    without = plan_of(spec_of(None))
    assert {t.trial_id for t in without if without.progress(sweep).to_train(t)} == stopped
    assert launch(without, sweep) > 0
    assert ends(without, sweep)["pruned", 1e-9] == ({"finished"}, EPOCHS)
    assert not list(sweep.glob(f"trials/*/{STOP}"))


@pytest.mark.slow
def test_a_target_ends_what_has_reached_it_and_seeds_added_later_stop_where_the_trial_did(tmp_path, capsys):
    sweep = tmp_path / "stopped"
    stopper = {"kind": "target", "metric": "train_loss", "mode": "min", "value": 1.5}
    space = {"training.optimiser.lr": {"grid": [0.2]}}
    launch(plan_of(spec_of(stopper, space=space)), sweep)
    more = plan_of(spec_of(stopper, space=space, replicates={"initialisation": 4}))
    assert sum(len(more.progress(sweep).to_train(trial)) for trial in more) == 2
    launch(more, sweep)
    epochs = {r["epochs"] for r in records.records(sweep) if r["role"] == "pruned"}
    assert len(epochs) == 1
    assert max(epochs) < EPOCHS
    assert {r["status"] for r in records.records(sweep) if r["role"] == "pruned"} == {"stopped"}
    launched = _launched(more, tmp_path)
    [stopped] = [trial.trial_id for trial in more if trial.role == "pruned"]
    said = f"trial {stopped} (target by train_loss mean: "
    [reached] = status_of("stopped", tmp_path)["at_target"]
    assert reached["trial"] == stopped
    assert "has reached the target 1.5" in reached["reason"]
    answers = best("stopped", storage=tmp_path)
    assert stopped not in {answer.trial_id for answer in answers}
    assert answers.left_out[-1].startswith(f"1 trial stopped at the target: {said}")
    with pytest.raises(SweepNotFound, match=r"has no trial with a .* yet; 1 trial stopped at the target: trial"):
        best("stopped", where='role == "pruned"', storage=tmp_path)
    assert set(successes(sweep)) == set(successes(sweep, {stopped, "another"})) == {stopped}
    assert successes(sweep, {"another"}) == {}
    show.launch(launched, command="")
    assert f"stopped at the target: {said}" in capsys.readouterr().out
    fewer = plan_of(spec_of(stopper, space=space))
    show.launch(_launched(fewer, tmp_path), command="")
    [row] = [line.split() for line in capsys.readouterr().out.splitlines() if answers[0].trial_id in line]
    assert "3" in row, "the seeds of the plan"
    assert "4" not in row


def _launched(plan: Plan, storage: Path) -> Launch:
    """What a launch that has carried out the plan says of itself."""
    _write_plan(storage / plan.spec.name, plan)
    return Launch(
        plan=plan,
        storage=storage,
        started=0,
        trained=2,
        statuses=plan.progress(storage / plan.spec.name).counts,
        complete=True,
        why="",
        tracking_uri=None,
        lag=None,
        report=storage,
        wall_seconds=1.0,
    )


def test_a_decision_that_died_with_its_driver_is_made_at_the_next_launch(tmp_path):
    spec = spec_of({"kind": "target", "value": 0.05}, baseline=False)
    plan, sweep = plan_of(spec), tmp_path / "stopped"
    train(plan, sweep, None, epochs=1)
    assert decisions(plan, sweep) == {}
    judge = Judge(spec, sweep, plan)
    stop = judge.catch_up(plan.trials[0])
    assert stop is not None
    assert stop.epoch == 1
    assert json.loads((sweep / "trials" / plan.trials[0].trial_id / STOP).read_text())["epoch"] == 1


@pytest.mark.parametrize(
    ("stopper", "changes", "said"),
    [
        (
            {"kind": "target", "value": 95},
            {},
            "stopper.value: 95 is no value of validation_accuracy, a share; all",
        ),
        ({"kind": "ahsa"}, {}, "stopper.kind: unknown stopper 'ahsa'; known: asha, "),
        (
            {"kind": "asha", "metric": "accuracy", "mode": "max"},
            {},
            "stopper.metric: 'accuracy' is no metric that",
        ),
        ({"kind": "asha", "metric": "test_accuracy", "mode": "max"}, {}, "known: classes_never_predicted, "),
        ({"kind": "asha"}, {"objective": {"metric": "parameters"}}, "objective.metric: 'parameters' is no metric"),
        ({"kind": "asha", "metric": "train_loss"}, {}, "stopper.mode: is required with another metric"),
        ({"kind": "asha", "grace": 8}, {}, "stopper.grace: 8 is not below the 8 epochs of training"),
        ({"kind": "plateau", "patience": 30}, {}, "stopper.patience: 30 is not below the 8 epochs"),
        ({"kind": "asha", "reduction": 1}, {}, "stopper.reduction: "),
        ({"kind": "statistical", "statistic": "sd"}, {}, "stopper.statistic: statistical judges by mean; got sd"),
        ({"kind": "statistical"}, {"replicates": {"initialisation": 2}}, "needs at least 3 replicates of a trial"),
        ({"kind": "asha", "statistic": "sd"}, {"replicates": {"initialisation": 1}}, "at least 2 replicates"),
    ],
)
def test_what_could_never_work_is_refused(stopper, changes, said):
    with pytest.raises(SpecError) as refused:
        spec_of(stopper, **changes)
    assert said in str(refused.value)


def test_an_unknown_metric_is_the_only_complaint_and_a_loss_may_have_any_target():
    with pytest.raises(SpecError) as refused:
        spec_of({"kind": "asha", "metric": "accuracy"})
    assert [problem.path for problem in refused.value.problems] == ["stopper.metric"]
    assert (
        spec_of({"kind": "target", "value": 2.5, "metric": "validation_loss", "mode": "min"}).stopper is not None
    )
