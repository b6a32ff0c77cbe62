"""Answers from MLflow are those from the records."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from sweeps import mlflow_query, records, tracking
from sweeps.aggregate import trials_of
from sweeps.choosing import rank
from sweeps.errors import SpecError, SweepNotFound, TrackingError
from sweeps.table import replicates_of
from sweeps.tracking.store import store_uri
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.stores import NOT_OURS, migrated_store, no_address_from_outside, storage

__all__ = ["migrated_store", "no_address_from_outside", "storage"]
pytestmark = [pytest.mark.filterwarnings(warning) for warning in NOT_OURS]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> SweepOnDisk:
    """Everything that can become of replicates, projected."""
    storage = tmp_path_factory.mktemp("query")
    shutil.copy(migrated_store, storage / "mlflow.db")
    made = SweepOnDisk(storage, points={"training.optimiser.lr": [0.01, 0.05], "model.widths": [[64], [8, 8]]})
    endings = {0: "diverged", 4: "failed", 8: "stopped"}
    for number, replicate in enumerate(made.replicates()):
        if number != 11:
            early = {"measures_at": [{"epoch": 2, "seconds": 0.1, "network": {"macs": 70.0}, "layers": {}}]}
            replicate.finish(endings.get(number, "finished"), epochs=4 if number in endings else None, **early)
    made.replicates()[11].train(3)
    assert tracking.project(storage, made.name).is_complete
    return made


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Equal tables, whatever the order of the columns and the width of the numbers."""
    assert set(found.columns) == set(wanted.columns)
    pd.testing.assert_frame_equal(
        found[wanted.columns], wanted, check_dtype=False, rtol=1e-12, atol=0, check_names=False
    )


def test_replicates_are_those_of_the_records(sweep: SweepOnDisk) -> None:
    found = mlflow_query.replicates(sweep.name, store_uri(sweep.storage))
    same(found, replicates_of(sweep.folder))
    assert list(found.columns[:4]) == ["sweep", "trial_id", "replicate_id", "role"]


def test_trials_are_those_of_the_records(sweep: SweepOnDisk) -> None:
    found = mlflow_query.trials(sweep.name, store_uri(sweep.storage)).table.sort_values("trial_id")
    wanted = trials_of(replicates_of(sweep.folder)).sort_values("trial_id")
    medians = [c for c in map(str, wanted) if c.endswith(".median") and c != "validation_accuracy.median"]
    same(found.reset_index(drop=True), wanted.drop(columns=medians).reset_index(drop=True))


@pytest.mark.parametrize(("statistic", "mode"), [("mean", "max"), ("ci_low", "max"), ("sd", "min")])
@pytest.mark.parametrize("allow_diverged", [False, True])
def test_best_are_those_of_the_records(
    sweep: SweepOnDisk, statistic: str, mode: str, allow_diverged: bool
) -> None:
    uri = store_uri(sweep.storage)
    column = f"validation_accuracy.{statistic}"
    wanted = rank(trials_of(replicates_of(sweep.folder)), column, mode, allow_diverged=allow_diverged)
    for k in (1, 3, 7, 50):
        found = mlflow_query.best(
            sweep.name, uri, statistic=statistic, mode=mode, k=k, allow_diverged=allow_diverged
        ).table
        assert list(found["trial_id"]) == list(wanted["trial_id"])[:k]


def test_history_is_that_of_the_records(sweep: SweepOnDisk) -> None:
    uri = store_uri(sweep.storage)
    found = mlflow_query.history(sweep.name, uri, metrics=["validation_accuracy"])
    for replicate in sweep.replicates():
        own = found[found["replicate_id"] == replicate.replicate_id]
        wanted = records.read_history(replicate.folder)
        assert list(own["epoch"]) == [row["epoch"] for row in wanted]
        assert list(own["time"]) == [row["time"] for row in wanted]
        assert list(own["value"]) == [row["validation_accuracy"] for row in wanted]


@pytest.mark.slow
def test_every_page_is_read(sweep: SweepOnDisk, tmp_path: Path) -> None:
    """MLflow's own search stops after a page without a word; one replicate's run is copied to fill two."""
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(sweep.storage / "mlflow.db") as source, sqlite3.connect(path) as target:
        source.backup(target)
    source.close()
    target.close()
    before = len(mlflow_query.replicates(sweep.name, store_uri(tmp_path)))
    copies = mlflow_query.PAGE + 10
    connection = sqlite3.connect(path)
    [[run]] = connection.execute(
        "SELECT run_uuid FROM tags WHERE key = 'identity' AND value = ?", [sweep.replicates()[1].replicate_id]
    ).fetchall()
    columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
    others = ", ".join(name for name in columns if name != "run_uuid")
    tags = [row[1] for row in connection.execute("PRAGMA table_info(tags)") if row[1] != "run_uuid"]
    for number in range(copies):
        copy = f"{number:032x}"
        connection.execute(
            f"INSERT INTO runs (run_uuid, {others}) SELECT ?, {others} FROM runs WHERE run_uuid = ?", [copy, run]
        )
        connection.execute(
            f"INSERT INTO tags (run_uuid, {', '.join(tags)}) SELECT ?, {', '.join(tags)} FROM tags "
            "WHERE run_uuid = ?",
            [copy, run],
        )
    connection.commit()
    connection.close()
    assert len(mlflow_query.replicates(sweep.name, store_uri(tmp_path))) == before + copies


def test_unknown_names_teach_the_known_ones(sweep: SweepOnDisk) -> None:
    uri = store_uri(sweep.storage)
    with pytest.raises(SweepNotFound, match=f"no sweep 'other' in this MLflow; there: {sweep.name}"):
        mlflow_query.replicates("other", uri)
    with pytest.raises(SpecError, match=r"has no_such\.mean; there: .*validation_accuracy\.mean"):
        mlflow_query.best(sweep.name, uri, metric="no_such")


def test_sweep_that_has_only_begun_gives_empty_tables(storage: Path) -> None:
    sweep = SweepOnDisk(storage, points={"training.optimiser.lr": [0.1]})
    tracking.project(storage, sweep.name)
    uri = store_uri(storage)
    assert mlflow_query.replicates(sweep.name, uri).empty
    assert mlflow_query.trials(sweep.name, uri).table.empty
    assert mlflow_query.history(sweep.name, uri).empty


def test_store_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="`sweeps sync NAME` makes it"):
        mlflow_query.replicates("any", store_uri(tmp_path))
    assert not (tmp_path / "mlflow.db").exists()
