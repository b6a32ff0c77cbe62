"""Answers from MLflow at 10,000 and 100,000 replicates, and from 10,000 records."""

from __future__ import annotations

import os
import sqlite3
import statistics
from pathlib import Path

import sweeps
from benchmarks.tracking.common import EPOCHS, METRICS, finished, fresh, say, timed
from sweeps import tracking, ui
from sweeps.table import replicates_of
from sweeps.tracking.store import store_uri
from tests.sweeps.tracking.recorded import SweepOnDisk

TABLES = ("runs", "tags", "params", "latest_metrics")


def answers(folder: Path, template: Path, size: int) -> None:
    storage = fresh(folder / f"answers-{size}", template)
    sweep = SweepOnDisk(storage, seeds=size, epochs=2, points={"training.optimiser.lr": [0.1]})
    sweep.finish()
    tracking.project(storage, sweep.name)
    copied(storage / "mlflow.db", 1000, size)
    uri = store_uri(storage)
    times = [timed(lambda: sweeps.best(sweep.name, k=10, source="mlflow", uri=uri)) for _ in range(6)][1:]
    wall, cpu = (statistics.median(clock) for clock in zip(*times, strict=True))
    say(f"best of 1,000 trials x {size} from MLflow, median of 5 (wall; CPU)", f"{wall:.3f} s; {cpu:.3f} s")
    if size == 10:
        wall, cpu = timed(lambda: sweeps.replicates(sweep.name, source="mlflow", uri=uri))
        say("replicates of 10,000 rows from MLflow to a DataFrame (wall; CPU)", f"{wall:.1f} s; {cpu:.1f} s")
        wall, cpu = timed(lambda: searched(uri, sweep.name))
        say("`mlflow.search_runs` on the same store (wall; CPU)", f"{wall:.1f} s; {cpu:.1f} s")
        with ui.server(uri) as address:
            wall, cpu = timed(lambda: sweeps.replicates(sweep.name, source="mlflow", uri=address))
            say("the same rows behind `mlflow server` (wall; CPU of the client)", f"{wall:.1f} s; {cpu:.1f} s")
            wall, cpu = timed(lambda: searched(address, sweep.name))
            say("`mlflow.search_runs` there (wall; CPU of the client)", f"{wall:.1f} s; {cpu:.1f} s")


def histories(folder: Path, template: Path) -> None:
    """Epochs of 100 replicates, from a store and behind a server."""
    storage = fresh(folder / "histories", template)
    sweep = finished(storage, replicates=100)
    tracking.project(storage, sweep.name)
    uri = store_uri(storage)
    direct, _ = timed(lambda: sweeps.history(sweep.name, source="mlflow", uri=uri))
    with ui.server(uri) as address:
        sweeps.history(sweep.name, source="mlflow", uri=address, metrics=["train_loss"])
        served, _ = timed(lambda: sweeps.history(sweep.name, source="mlflow", uri=address))
    say(
        f"history of 100 replicates x {EPOCHS} x {METRICS}, SQLite; behind a server",
        f"{direct:.1f} s; {served:.1f} s",
    )


def from_records(folder: Path) -> None:
    sweep = SweepOnDisk(folder / "records", seeds=5_000, epochs=2, points={"training.optimiser.lr": [0.1]})
    sweep.finish()
    first, _ = timed(lambda: replicates_of(sweep.folder))
    again, _ = timed(lambda: replicates_of(sweep.folder))
    say("replicates of 10,000 records to a DataFrame, first time; again", f"{first:.1f} s; {again:.1f} s")


def copied(path: Path, trials: int, replicates: int) -> None:
    """Fill a store with copies of the two trials and their replicates that are in it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    columns = {
        table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "run_uuid"]
        for table in TABLES
    }
    levels = {
        level: [
            row[0]
            for row in connection.execute("SELECT run_uuid FROM tags WHERE key = 'level' AND value = ?", [level])
        ]
        for level in ("trial", "replicate")
    }
    connection.execute("CREATE TEMP TABLE copies (source TEXT, copy TEXT)")
    pairs = [(levels["trial"][i % 2], f"a{i:031x}") for i in range(trials - 2)]
    wanted = trials * replicates - len(levels["replicate"])
    pairs += [(levels["replicate"][i % len(levels["replicate"])], f"b{i:031x}") for i in range(wanted)]
    connection.executemany("INSERT INTO copies VALUES (?, ?)", pairs)
    for table in TABLES:
        names = ", ".join(columns[table])
        connection.execute(
            f"INSERT INTO {table} (run_uuid, {names}) SELECT copy, {names} FROM {table} "  # noqa: S608
            "JOIN copies ON run_uuid = source"
        )
    connection.execute(
        "UPDATE latest_metrics SET value = value + abs(random() % 1000) * 1e-5 "
        "WHERE run_uuid LIKE 'a%' AND key LIKE 'validation_accuracy%'"
    )
    connection.execute("UPDATE tags SET value = run_uuid WHERE key = 'identity' AND run_uuid LIKE 'a%'")
    connection.commit()
    connection.close()


def searched(uri: str, name: str) -> None:
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.search_runs(experiment_names=[name], filter_string="tags.level = 'replicate'", max_results=50_000)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # `set_tracking_uri` sets it
