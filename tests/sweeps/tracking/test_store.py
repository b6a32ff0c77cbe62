"""Which store, and what is said about one that can not be used."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

import sweeps
from sweeps import tracking, ui
from sweeps.cli import app
from sweeps.errors import TrackingError
from sweeps.tracking.store import artifacts_of, commits_without_waiting, prepare, resolve_uri, store_uri
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen


def test_explicit_address_comes_first_then_the_environment_then_the_spec(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    local = f"sqlite:///{tmp_path}/mlflow.db"
    assert store_uri(tmp_path, resolve_uri(None, None)) == local
    assert resolve_uri(None, "http://spec:1") == "http://spec:1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment:1")
    assert resolve_uri(None, "http://spec:1") == "http://environment:1"
    assert resolve_uri("http://flag:1", "http://spec:1") == "http://flag:1"
    assert store_uri(tmp_path) == "http://environment:1"
    assert store_uri(tmp_path, "http://flag:1") == "http://flag:1"


def test_local_store_is_in_write_ahead_mode_with_artifacts_beside_it(tmp_path: Path) -> None:
    uri = store_uri(tmp_path / "not there yet")
    prepare(uri)
    connection = sqlite3.connect(tmp_path / "not there yet" / "mlflow.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert artifacts_of(uri) == tmp_path / "not there yet" / "artifacts"
    assert artifacts_of("http://somewhere:5000") is None


def test_artifacts_of_a_local_store_are_inside_the_storage(sweep: SweepOnDisk, seen: Seen) -> None:
    replicate = sweep.replicates(0)[0]
    replicate.finish()
    tracking.project(sweep.storage, sweep.name)
    run = seen.replicate(sweep.name, replicate.replicate_id)
    folder = sweep.storage / "artifacts" / sweep.name / run.info.run_id / "artifacts"
    assert sorted(path.name for path in folder.iterdir()) == ["fits.csv", "layers.csv", "spectra.npz"]


def test_storage_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="can not be made or opened"):
        tracking.check(f"sqlite:///{tmp_path}/file/mlflow.db")


@pytest.mark.parametrize("uri", ["file:///runs", "./mlruns", "databricks", "ftp://host"])
def test_other_kinds_of_store_are_refused_with_those_allowed(uri: str) -> None:
    with pytest.raises(TrackingError, match="allowed: http"):
        tracking.check(uri)


def test_server_that_does_not_answer_is_said_within_seconds(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"no MLflow server answers at http.*tracking\.uri"):
        tracking.check(f"http://127.0.0.1:{ui.free_port()}")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(TrackingError, match="no MLflow server answers"):
            tracking.check(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_database_that_does_not_answer_is_said() -> None:
    with pytest.raises(TrackingError, match="can not be opened") as failure:
        tracking.check(f"postgresql+psycopg2://me:geheim@127.0.0.1:{ui.free_port()}/runs")
    assert "geheim" not in str(failure.value)


@contextmanager
def answering(answers: dict[str, tuple[int, str, str]]) -> Iterator[str]:
    """A web server that is no current MLflow: status, type and text by path, 404 for the rest."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            status, kind, text = answers.get(path, (404, "text/html", "<p>nothing here</p>"))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_web_server_that_is_no_mlflow_is_said() -> None:
    with answering({}) as address, pytest.raises(TrackingError, match="not a working MLflow server"):
        tracking.check(address)


def test_server_of_an_older_version_is_said() -> None:
    search = (200, "application/json", json.dumps({"experiments": []}))
    answers = {"/version": (200, "text/plain", "2.9.2"), "/api/2.0/mlflow/experiments/search": search}
    with answering(answers) as address, pytest.raises(TrackingError, match=r"version 2\.9\.2; 3\.0 or newer"):
        tracking.check(address)


@pytest.mark.slow
def test_server_with_authentication_refuses_wrong_credentials_and_takes_right_ones(
    tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "server.db"
    shutil.copy(migrated_store, database)
    settings = tmp_path / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{tmp_path}/auth.db\n"
        "admin_username = admin\nadmin_password = eine lange Parole\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(settings))
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "for this test")
    sweep = SweepOnDisk(tmp_path / "storage", seeds=1, points={"training.optimiser.lr": [0.1]})
    sweep.finish()
    with ui.server(f"sqlite:///{database}", extra=["--app-name", "basic-auth"]) as address:
        with pytest.raises(TrackingError, match="refuses these credentials"):
            tracking.check(address)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        with pytest.raises(TrackingError, match="refuses these credentials"):
            tracking.project(sweep.storage, sweep.name, address)
        with pytest.raises(TrackingError, match=r"refuses these credentials.*MLFLOW_TRACKING_PASSWORD"):
            sweeps.best(sweep.name, source="mlflow", uri=address)
        asked = CliRunner().invoke(app, ["best", sweep.name, "--from", "mlflow", "--tracking-uri", address])
        assert isinstance(asked.exception, TrackingError)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "eine lange Parole")
        tracking.check(address)
        assert tracking.project(sweep.storage, sweep.name, address).is_complete
        assert len(sweeps.replicates(sweep.name, source="mlflow", uri=address)) == 2
        assert len(sweeps.history(sweep.name, source="mlflow", uri=address, metrics=["train_loss"])) == 2 * 6
    assert len(Seen(f"sqlite:///{database}").level(sweep.name, "replicate")) == 2


def test_commits_to_a_file_do_not_wait_for_the_disk_while_it_is_projected(tmp_path: Path) -> None:
    def synchronous() -> int:
        engine = create_engine(f"sqlite:///{tmp_path / 'some.db'}")
        with engine.connect() as connection:
            found = int(connection.execute(text("PRAGMA synchronous")).scalar_one())
        engine.dispose()
        return found

    full, normal = 2, 1
    with commits_without_waiting():
        assert synchronous() == normal
    assert synchronous() == full
