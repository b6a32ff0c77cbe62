"""Fixtures: real MLflow stores, an SQLite file and an `mlflow server` on one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps import ui
from sweeps.tracking.store import prepare, store_uri
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen

NOT_OURS = [
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",  # MLflow's use of SQLAlchemy 2.1
]


@pytest.fixture(autouse=True)
def no_address_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow reads its address from the environment; a test says its own."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh SQLite store; making one costs seconds, copying it milliseconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    uri = f"sqlite:///{path}"
    prepare(uri)
    MlflowClient(uri).search_experiments()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture
def storage(tmp_path: Path, migrated_store: Path) -> Path:
    """A storage whose name is awkward, with a fresh store in it."""
    root = tmp_path / "a storage, ünusual"
    root.mkdir()
    shutil.copy(migrated_store, root / "mlflow.db")
    return root


@pytest.fixture
def sweep(storage: Path) -> SweepOnDisk:
    """Two twins and two pruned trials of three replicates, planned and not begun."""
    return SweepOnDisk(storage, points={"training.optimiser.lr": [0.01, 0.05]})


@pytest.fixture
def seen(storage: Path) -> Seen:
    """The store inside the storage, as a client sees it."""
    return Seen(store_uri(storage))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Iterator[str]:
    """Address of an `mlflow server` on SQLite; its tests use sweeps of different names."""
    path = tmp_path_factory.mktemp("server") / "mlflow.db"
    shutil.copy(migrated_store, path)
    with ui.server(f"sqlite:///{path}") as address:
        yield address
