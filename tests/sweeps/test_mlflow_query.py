"""Answers from MLflow are those from the records."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

from sweeps import mlflow_query, records, tracking, ui
from sweeps.aggregate import trials_of
from sweeps.choosing import rank
from sweeps.errors import SpecError, SweepNotFound, TrackingError
from sweeps.mlflow_query.database import RUNS_PER_STATEMENT
from sweeps.mlflow_query.runs import REPLICATE, TRIAL, Run, of_entity
from sweeps.mlflow_query.server import MOST_POINTS, PAGE
from sweeps.mlflow_query.store import reading
from sweeps.table import replicates_of
from sweeps.tracking.store import store_uri
from tests.sweeps.tracking.faults import proxy_to
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


@pytest.fixture(scope="module")
def served(sweep: SweepOnDisk) -> Iterator[str]:
    """Address of a server on its store."""
    with ui.server(store_uri(sweep.storage)) as address:
        yield address


@pytest.fixture(params=["database", pytest.param("server", marks=pytest.mark.slow)])
def uri(request: pytest.FixtureRequest, sweep: SweepOnDisk) -> str:
    """The two ways to read a store: its database, and a server before it."""
    is_served = request.param == "server"
    return str(request.getfixturevalue("served")) if is_served else store_uri(sweep.storage)


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Equal tables, whatever the order of the columns and the width of the numbers."""
    assert set(found.columns) == set(wanted.columns)
    pd.testing.assert_frame_equal(
        found[wanted.columns], wanted, check_dtype=False, rtol=1e-12, atol=0, check_names=False
    )


def texts(runs: Sequence[Run]) -> list[str]:
    """Runs as texts: a metric that is not a number does not equal itself."""
    return sorted(json.dumps(run, sort_keys=True) for run in runs)


@pytest.mark.parametrize("level", [TRIAL, REPLICATE])
def test_runs_read_in_bulk_are_what_mlflows_search_finds(sweep: SweepOnDisk, uri: str, level: str) -> None:
    with reading(uri) as store:
        place = store.experiment(sweep.name)
        found = list(store.many.runs(place, level))
        searched = [of_entity(run) for run in store.client.search_runs([place], f"tags.level = '{level}'")]
    assert texts(found) == texts(searched)
    assert {run.status for run in found} == {"FINISHED", "FAILED", "RUNNING"}


def test_replicates_are_those_of_the_records(sweep: SweepOnDisk, uri: str) -> None:
    found = mlflow_query.replicates(sweep.name, uri)
    same(found, replicates_of(sweep.folder))
    assert list(found.columns[:4]) == ["sweep", "trial_id", "replicate_id", "role"]


def test_trials_are_those_of_the_records(sweep: SweepOnDisk, uri: str) -> None:
    found = mlflow_query.trials(sweep.name, uri).table
    wanted = trials_of(replicates_of(sweep.folder))
    medians = [c for c in map(str, wanted) if c.endswith(".median") and c != "validation_accuracy.median"]
    same(found, wanted.drop(columns=medians).reset_index(drop=True))


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


def test_history_is_that_of_the_records(sweep: SweepOnDisk, uri: str) -> None:
    found = mlflow_query.history(sweep.name, uri)
    assert "macs" not in set(found["metric"])
    for replicate in sweep.replicates():
        own = found[found["replicate_id"] == replicate.replicate_id]
        wanted = records.read_history(replicate.folder)
        assert set(own["metric"]) == {name for row in wanted for name in row} - {"epoch", "time"}
        for metric, points in own.groupby("metric"):
            assert list(points["epoch"]) == [row["epoch"] for row in wanted]
            assert list(points["time"]) == [row["time"] for row in wanted]
            expected = pd.Series([row[str(metric)] for row in wanted], dtype=float)
            pd.testing.assert_series_equal(points["value"].reset_index(drop=True), expected, check_names=False)


def test_history_of_some_metrics_and_replicates(sweep: SweepOnDisk, uri: str) -> None:
    chosen = [replicate.replicate_id for replicate in sweep.replicates()[2:4]]
    found = mlflow_query.history(sweep.name, uri, metrics=["train_loss", "at_epoch.macs"], only=chosen)
    assert set(found["replicate_id"]) == set(chosen)
    assert set(found["metric"]) == {"train_loss", "at_epoch.macs"}
    assert list(found[found["metric"] == "at_epoch.macs"]["epoch"]) == [2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("instead", ["absent", "page"])
def test_history_from_a_server_that_has_no_bulk_of_them(sweep: SweepOnDisk, served: str, instead: str) -> None:
    asked = ["train_loss", "validation_accuracy"]
    wanted = mlflow_query.history(sweep.name, store_uri(sweep.storage), metrics=asked)
    with proxy_to(served) as proxy:
        proxy.fault = lambda _method, path: instead if path.startswith("/ajax-api") else "pass"
        pd.testing.assert_frame_equal(mlflow_query.history(sweep.name, proxy.uri, metrics=asked), wanted)
        assert any(path.endswith("get-history-bulk") for _, path in proxy.requests)


@pytest.mark.slow
def test_server_that_answers_with_a_page_or_errs_is_said(sweep: SweepOnDisk, served: str) -> None:
    with proxy_to(served) as proxy:
        for instead in ("page", "error", "refuse"):
            proxy.fault = lambda _method, path, instead=instead: (
                instead if path.endswith("runs/search") else "pass"
            )  # type: ignore[misc]
            with pytest.raises(TrackingError, match="does not answer"):
                mlflow_query.replicates(sweep.name, proxy.uri)


def copied(connection: sqlite3.Connection, run: str, copies: Sequence[str]) -> None:
    """Copy a run and its tags, under other names."""
    for table in ("runs", "tags"):
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        others = ", ".join(name for name in columns if name != "run_uuid")
        connection.executemany(
            f"INSERT INTO {table} (run_uuid, {others}) SELECT ?, {others} FROM {table} WHERE run_uuid = ?",
            [(copy, run) for copy in copies],
        )


@pytest.mark.slow
def test_every_page_is_read_and_every_point(sweep: SweepOnDisk, tmp_path: Path) -> None:
    """MLflow's search stops after a page without a word, its histories after 25,000 points: both are filled."""
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(sweep.storage / "mlflow.db") as source, sqlite3.connect(path) as target:
        source.backup(target)
    source.close()
    uri = store_uri(tmp_path)
    before = len(mlflow_query.replicates(sweep.name, uri))
    copies = [f"{number:032x}" for number in range(PAGE + 10)]
    assert len(copies) > 2 * RUNS_PER_STATEMENT
    run = mlflow_query.run_id(sweep.name, "replicate", sweep.replicates()[1].replicate_id, uri)
    copied(target, run, copies)
    long, points = copies[:2], MOST_POINTS // 2 + 1
    target.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
        "VALUES ('long', 1, 1, 1, 0, ?)",
        [(copy,) for copy in long],
    )
    target.executemany(
        "INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES ('long', 0.5, 1, ?, 0, ?)",
        [(step, copy) for copy in long for step in range(points)],
    )
    target.commit()
    target.close()
    with ui.server(uri) as address:
        for asked in (uri, address):
            assert len(mlflow_query.replicates(sweep.name, asked)) == before + len(copies)
            found = mlflow_query.history(sweep.name, asked, metrics=["long"])
            assert list(found["epoch"]) == sorted([*range(points), *range(points)])


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
