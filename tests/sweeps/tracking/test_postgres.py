"""PostgreSQL behind `mlflow server`, as a cluster has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from sweeps import mlflow_query, tracking, ui
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"


def _as_user(*command: str | Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", USER, "--", *map(str, command)] if os.geteuid() == 0 else [*map(str, command)]


def _run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run(_as_user(*command), capture_output=True, text=True, cwd=folder, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def postgres() -> Iterator[str]:
    """Address of an empty database on loopback, ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # pytest's own folders can not be entered by another user
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        data, port = folder / "data", ui.free_port()
        _run(PROGRAMS / "initdb", "-D", data, "-U", USER, "-A", "trust", "-N", folder=folder)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        start: list[str | Path] = [PROGRAMS / "pg_ctl", "-D", data, "-o", options, "-w", "-l", folder / "log"]
        _run(*start, "start", folder=folder)
        try:
            yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/postgres"
        finally:
            _run(PROGRAMS / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop", folder=folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_postgres_behind_a_server_holds_the_same_tree(
    storage: Path, seen: Seen, sweep: SweepOnDisk, tmp_path: Path
) -> None:
    if not PROGRAMS.exists():
        message = f"PostgreSQL 15 is not at {PROGRAMS}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    sweep.replicates(0)[0].finish("diverged", epochs=3, reason="nul\0byte, <b>, ☃ and " + "x" * 9_000)
    for replicate in sweep.replicates()[1:]:
        replicate.finish()
    assert tracking.project(storage, sweep.name).is_complete
    with postgres() as database:
        tracking.check(database)
        extra = ["--artifacts-destination", str(tmp_path / "artifacts")]
        with ui.server(database, extra=extra) as address:
            assert tracking.project(storage, sweep.name, address).is_complete
            assert Seen(address).tree(sweep.name) == seen.tree(sweep.name)
            table = mlflow_query.replicates(sweep.name, address)
            assert len(table) == 12
            pd.testing.assert_frame_equal(mlflow_query.replicates(sweep.name, database), table)
            epochs = mlflow_query.history(sweep.name, address)
            pd.testing.assert_frame_equal(mlflow_query.history(sweep.name, database), epochs)
            best = mlflow_query.best(sweep.name, address, k=1).table
            assert list(best["trial_id"]) == list(mlflow_query.best(sweep.name, seen.uri, k=1).table["trial_id"])
