"""The tree of a sweep's records in a real SQLite store."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import ViewType
from scipy import stats

from sweeps import tracking
from sweeps.errors import TrackingError
from sweeps.tracking.projection import Projection
from sweeps.tracking.session import _connect
from sweeps.tracking.store import artifacts_of, store_uri
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen


def project(sweep: SweepOnDisk) -> None:
    lag = tracking.project(sweep.storage, sweep.name)
    assert lag.is_complete, str(lag)


def metric_rows(storage: Path) -> int:
    with sqlite3.connect(storage / "mlflow.db") as connection:
        found = connection.execute("SELECT count(*) FROM metrics").fetchone()
    connection.close()
    return int(found[0])


def test_tree_holds_sweep_trials_and_replicates(sweep: SweepOnDisk, seen: Seen) -> None:
    sweep.finish()
    files = {"resolved.yaml", "packages.txt", "changes.diff"}
    for name in files:
        (sweep.folder / name).write_text(name)
    project(sweep)

    root = seen.level(sweep.name, "sweep")[sweep.name]
    trials = seen.level(sweep.name, "trial")
    replicates = seen.level(sweep.name, "replicate")
    assert set(trials) == {trial["trial_id"] for trial in sweep.trials}
    assert set(replicates) == {replicate.replicate_id for replicate in sweep.replicates()}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {root.info.run_id}
    for replicate in sweep.replicates():
        run = replicates[replicate.replicate_id]
        assert run.data.tags["mlflow.parentRunId"] == trials[replicate.trial["trial_id"]].info.run_id
        assert run.data.tags["status"] == "finished"
        assert run.info.status == "FINISHED"
        assert run.info.start_time == replicate.rows(1)[0]["time"]
    assert root.info.status == "FINISHED"
    assert root.data.tags["replicates"] == "12 finished"
    assert set(seen.artifacts(root)) == {"environment.json", "plan.json", "spec.yaml", *files}


def test_sweep_run_holds_what_each_launch_planned_and_what_came_of_it(
    sweep: SweepOnDisk, seen: Seen, tmp_path: Path
) -> None:
    launches = [{"started": started, "planned": {"trials": 4}, "outcome": {"trained": 12}} for started in (1, 2)]
    (sweep.folder / "launches").mkdir()
    for launch in launches:
        project(sweep)
        (sweep.folder / "launches" / f"{launch['started']}.json").write_text(json.dumps(launch))
    project(sweep)
    root = seen.level(sweep.name, "sweep")[sweep.name]
    assert json.loads(seen.download(root, "launches.json", tmp_path)) == launches


def test_trial_says_whose_training_it_began_from(sweep: SweepOnDisk, seen: Seen) -> None:
    twin, pruned = sweep.replicates(0)[0], sweep.replicates(2)[0]
    twin.finish()
    pruned.finish(forked_from={"trial_id": twin.trial["trial_id"], "epoch": 2})
    project(sweep)
    trials = seen.level(sweep.name, "trial")
    assert trials[pruned.trial["trial_id"]].data.tags["forked_from"] == f"{twin.trial['trial_id']} after epoch 2"
    assert "forked_from" not in trials[twin.trial["trial_id"]].data.tags


def test_replicate_run_holds_configuration_origin_and_every_epoch(
    sweep: SweepOnDisk, seen: Seen, tmp_path: Path
) -> None:
    replicate = sweep.replicates(3)[1]
    record = replicate.finish()
    project(sweep)

    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert run.data.params["training.optimiser.lr"] == "0.05"
    assert run.data.params["model.widths"] == "[64, 64]"
    assert run.data.params["seeds.initialisation"] == "1"
    assert run.data.params["prune.rule"] == "mp_threshold"
    wanted = {"sweep": sweep.name, "level": "replicate", "role": "pruned", "host": "node-1", "device": "cpu"}
    wanted |= {"git_commit": "c" * 40, "dirty": "False", "fingerprint": "f" * 64, "trial": record["trial_id"]}
    assert wanted.items() <= run.data.tags.items()
    assert "torch 2.14.1" in run.data.tags["versions"]
    logged = {row[:3]: float(row[3]) for row in seen.rows(run)}
    for row in replicate.rows(sweep.epochs):
        for name in set(row) - {"epoch", "time"}:
            assert logged.pop((name, row["epoch"], row["time"])) == row[name]
    final = {"test_accuracy", "test_loss", "parameters", "distance", "wall_seconds"}
    assert {key[0] for key in logged} == final
    assert {key[1:] for key in logged} == {(sweep.epochs, record["ended"])}
    assert seen.artifacts(run) == ["fits.csv", "layers.csv", "spectra.npz"]
    table = seen.download(run, "layers.csv", tmp_path).decode().splitlines()
    assert table[0].startswith("name,rows,cols,rank")
    assert len(table) == 1 + len(record["layers"])


def test_measures_on_the_way_are_points_at_their_epochs(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(3)[0]
    taken = [
        {"epoch": epoch, "seconds": 0.1, "network": {"hessian_top": top}, "layers": {}}
        for epoch, top in [(0, 7.5), (4, None)]
    ]
    record = replicate.finish(measures_at=taken)
    project(sweep)
    rows = seen.rows(seen.replicate(sweep.name, replicate.replicate_id))
    found = [row[1:] for row in rows if row[0] == "at_epoch.hessian_top"]
    assert found == [(0, record["ended"], "7.5"), (4, record["ended"], "nan")]


def test_twin_has_no_pruning_parameters(sweep: SweepOnDisk, seen: Seen) -> None:
    sweep.replicates(0)[0].finish()
    project(sweep)
    [trial] = seen.level(sweep.name, "trial").values()
    assert [p for p in trial.data.params if p.startswith("prune.")] == ["prune.rule"]
    assert trial.data.tags["role"] == "twin"


def test_trial_statistics_are_those_of_its_replicates(sweep: SweepOnDisk, seen: Seen) -> None:
    records = [replicate.finish() for replicate in sweep.replicates(2)]
    project(sweep)
    run = seen.level(sweep.name, "trial")[records[0]["trial_id"]]
    for name in ("validation_accuracy", "test_accuracy", "parameters_kept"):
        values = np.array([record["metrics"][name] for record in records])
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), max(stats.sem(values), 1e-300))
        logged = [run.data.metrics[f"{name}.{s}"] for s in ("mean", "sd", "ci_low", "ci_high")]
        assert logged == pytest.approx([values.mean(), values.std(ddof=1), low, high], rel=1e-12)
    assert run.data.metrics["n"] == 3
    assert run.data.metrics["n_diverged"] == 0
    losses = [record["metrics"]["train_loss"] for record in records]
    assert run.data.metrics["train_loss.sd"] == pytest.approx(np.std(losses, ddof=1), rel=1e-12)
    assert "train_loss.ci_low" not in run.data.metrics
    assert run.inputs is not None
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", records[0]["fingerprint"][:36])
    assert not {"validation_accuracy", "test_accuracy"} & set(run.data.metrics)


def test_statistics_are_logged_once_for_each_n(sweep: SweepOnDisk, seen: Seen) -> None:
    for replicate in sweep.replicates(0):
        replicate.finish()
        project(sweep)
        project(sweep)
    run = seen.level(sweep.name, "trial")[sweep.trials[0]["trial_id"]]
    steps = [row[1] for row in seen.rows(run) if row[0] == "validation_accuracy.mean"]
    assert steps == [1, 2, 3]
    assert [row[1] for row in seen.rows(run) if row[0] == "validation_accuracy.sd"] == [2, 3]


def test_metric_names_are_few(sweep: SweepOnDisk, seen: Seen) -> None:
    sweep.finish()
    project(sweep)
    names = {name for run in seen.runs(sweep.name) for name in run.data.metrics}
    assert len(names) < 60


def test_projecting_again_changes_nothing(sweep: SweepOnDisk, seen: Seen, storage: Path) -> None:
    sweep.finish()
    project(sweep)
    before, rows = seen.tree(sweep.name), metric_rows(storage)
    project(sweep)
    assert seen.tree(sweep.name) == before
    assert metric_rows(storage) == rows


def test_running_replicate_grows_and_ends(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    address = store_uri(sweep.storage)
    live = Projection(sweep.folder, lambda: _connect(address), artifacts_of(address))
    for until in (1, 2, 5):
        replicate.train(until, since={1: 0, 2: 1, 5: 2}[until])
        assert live.run_once().is_complete
        run = seen.replicate(sweep.name, replicate.replicate_id)
        assert run.info.status == "RUNNING"
        assert {step for _, step, _, _ in seen.rows(run)} == set(range(1, until + 1))
    replicate.train(6, since=5)
    replicate.finish()
    assert live.run_once().is_complete
    project(sweep)
    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert run.info.status == "FINISHED"
    assert len(seen.rows(run)) == 6 * 11 + 5


def test_one_replicate_of_a_running_trial_is_told_at_once_and_the_others_may_wait(
    sweep: SweepOnDisk, seen: Seen
) -> None:
    address = store_uri(sweep.storage)
    live = Projection(sweep.folder, lambda: _connect(address), artifacts_of(address))
    group = sweep.replicates(0)
    for until in (1, 2):
        for replicate in group:
            replicate.train(until, since=until - 1)
        lag = live.run_once(patience=3600.0)
    told = [len(seen.rows(seen.replicate(sweep.name, r.replicate_id))) // 11 for r in group]
    assert sorted(told) == [1, 1, 2]
    assert (lag.replicates, lag.epochs) == (2, 2)
    group[0].finish()
    group[1].finish()
    live.run_once(patience=3600.0)
    assert seen.replicate(sweep.name, group[1].replicate_id).info.status == "FINISHED"
    assert live.run_once().is_complete


def test_a_long_pass_tells_the_lag_as_it_shrinks(sweep: SweepOnDisk) -> None:
    address = store_uri(sweep.storage)
    for replicate in sweep.replicates():
        replicate.train(4)
    said: list[int] = []

    left = Projection(sweep.folder, lambda: _connect(address), artifacts_of(address)).run_once(
        tell=lambda lag: said.append(lag.epochs), tell_every=0.0
    )

    assert left.is_complete
    trials = len({replicate.folder.parent for replicate in sweep.replicates()})
    assert len(said) == trials > 1
    assert said == sorted(said, reverse=True)
    assert 0 < said[0] < 4 * len(sweep.replicates())
    assert said[-1] == 0


def test_projection_takes_over_where_another_was_killed(sweep: SweepOnDisk, seen: Seen, storage: Path) -> None:
    address = store_uri(sweep.storage)
    for replicate in sweep.replicates():
        replicate.train(3)
    Projection(sweep.folder, lambda: _connect(address), artifacts_of(address)).run_once()
    half = metric_rows(storage)
    for replicate in sweep.replicates():
        replicate.train(6, since=3)
        replicate.finish()
    project(sweep)
    assert half == 12 * 3 * 11
    for run in seen.level(sweep.name, "replicate").values():
        assert len(seen.rows(run)) == 6 * 11 + 5


@pytest.mark.parametrize(
    ("status", "mlflow"),
    [("finished", "FINISHED"), ("stopped", "FINISHED"), ("diverged", "FINISHED"), ("failed", "FAILED")],
)
def test_every_ending_has_its_status(sweep: SweepOnDisk, seen: Seen, status: str, mlflow: str) -> None:
    first, *others = sweep.replicates(0)
    first.finish(status, epochs=4)
    for replicate in others:
        replicate.finish()
    project(sweep)
    run = seen.replicate(sweep.name, first.replicate_id)
    trial = seen.level(sweep.name, "trial")[sweep.trials[0]["trial_id"]]
    assert (run.info.status, run.data.tags["status"]) == (mlflow, status)
    assert (trial.info.status, trial.data.tags["status"]) == (mlflow, status)
    assert trial.data.metrics["n"] == (3 if status == "finished" else 2)
    if status != "finished":
        assert trial.data.metrics[f"n_{status}"] == 1
        assert run.data.tags["reason"] == f"{status} at epoch 4"
    assert ("traceback.txt" in seen.artifacts(run)) == (status == "failed")


def test_diverged_numbers_are_nan_and_not_the_epoch_before(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    replicate.train(3)
    replicate.append([replicate.rows(4)[-1] | {"train_loss": None}])
    replicate.finish("diverged", epochs=4)
    project(sweep)
    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert math.isnan(run.data.metrics["train_loss"])


def test_failed_replicate_that_is_trained_again_keeps_its_run(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    replicate.finish("failed", epochs=2)
    project(sweep)
    before = seen.replicate(sweep.name, replicate.replicate_id)
    replicate.train(6, since=2)
    replicate.finish()
    project(sweep)
    after = seen.replicate(sweep.name, replicate.replicate_id)
    assert after.info.run_id == before.info.run_id
    assert (after.info.status, after.data.tags["status"]) == ("FINISHED", "finished")
    assert len([row for row in seen.rows(after) if row[0] == "train_loss"]) == 6


def test_failing_again_at_the_same_epoch_adds_no_epoch(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    replicate.finish("failed", epochs=2)
    project(sweep)
    record = replicate.finish("failed", epochs=2, wall_seconds=99.0, ended=replicate.begin + 10_000)
    project(sweep)
    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert [row[1] for row in seen.rows(run) if row[0] == "train_loss"] == [1, 2]
    assert run.data.metrics["wall_seconds"] == record["wall_seconds"]
    assert "differing_epochs" not in run.data.tags


def test_seeds_that_are_added_reopen_the_trial(storage: Path, seen: Seen) -> None:
    points = {"training.optimiser.lr": [0.01]}
    few = SweepOnDisk(storage, seeds=2, points=points)
    few.finish()
    project(few)
    many = SweepOnDisk(storage, seeds=3, points=points)
    trial = many.trials[0]["trial_id"]
    added = many.replicates(0)[2]
    added.train(2)
    project(many)
    assert seen.level(many.name, "trial")[trial].info.status == "RUNNING"
    added.train(6, since=2)
    added.finish()
    project(many)
    run = seen.level(many.name, "trial")[trial]
    assert (run.info.status, run.data.metrics["n"]) == ("FINISHED", 3)


def test_rebuild_and_a_fresh_store_equal_the_original(
    sweep: SweepOnDisk, seen: Seen, migrated_store: Path, tmp_path: Path
) -> None:
    sweep.replicates(0)[0].finish("diverged", epochs=4)
    sweep.replicates(0)[1].finish("failed", epochs=4)
    sweep.replicates(0)[2].finish()
    address = store_uri(sweep.storage)
    live = Projection(sweep.folder, lambda: _connect(address), artifacts_of(address))
    for replicate in sweep.replicates()[3:]:
        replicate.train(3)
        live.run_once()
        replicate.train(6, since=3)
        replicate.finish()
        live.run_once()
    project(sweep)
    original = seen.tree(sweep.name)

    assert tracking.project(sweep.storage, sweep.name, rebuild=True).is_complete
    assert seen.tree(sweep.name) == original
    fresh = tmp_path / "fresh.db"
    fresh.write_bytes(migrated_store.read_bytes())
    assert tracking.project(sweep.storage, sweep.name, f"sqlite:///{fresh}").is_complete
    assert Seen(f"sqlite:///{fresh}").tree(sweep.name) == original


def test_sweep_of_the_same_name_in_another_storage_is_refused(
    sweep: SweepOnDisk, storage: Path, tmp_path: Path
) -> None:
    sweep.replicates(0)[0].finish()
    project(sweep)
    other = SweepOnDisk(tmp_path / "other", sweep.name)
    with pytest.raises(TrackingError, match="belongs to another sweep of that name"):
        tracking.project(other.storage, other.name, store_uri(storage))


def test_interrupted_runs_are_killed_and_go_on_later(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    replicate.train(2)
    lag = tracking.project(sweep.storage, sweep.name, follow=True, wait=lambda _: True)
    assert lag.is_complete
    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert (run.info.status, run.data.tags["status"]) == ("KILLED", "interrupted")
    assert seen.level(sweep.name, "sweep")[sweep.name].info.status == "KILLED"
    replicate.train(6, since=2)
    replicate.finish()
    project(sweep)
    run = seen.replicate(sweep.name, replicate.replicate_id)
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "finished")
    assert len([row for row in seen.rows(run) if row[0] == "train_loss"]) == 6


def test_nothing_is_deleted_without_a_double(sweep: SweepOnDisk, seen: Seen) -> None:
    sweep.finish()
    project(sweep)
    project(sweep)
    assert seen.runs(sweep.name, view=ViewType.DELETED_ONLY) == []
