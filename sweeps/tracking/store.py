"""Where the projection goes: the address, the local SQLite store, and whether anybody answers there."""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.document import parse
from sweeps.errors import TrackingError
from sweeps.storage import refresh_file, sweeps_in
from sweeps.tracking.client import without_password

if TYPE_CHECKING:
    import requests

DATABASE = "mlflow.db"
ARTIFACTS = "artifacts"
OLDEST_SERVER = (3, 0)
ANSWER_SECONDS = 10.0
_SQLITE = "sqlite:///"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def resolve_uri(explicit: str | None, spec: str | None) -> str | None:
    """The address that is given: explicitly, else by `MLFLOW_TRACKING_URI`, else by the spec; None: nowhere."""
    return explicit or os.environ.get("MLFLOW_TRACKING_URI") or spec or None


def store_uri(storage: Path, uri: str | None = None) -> str:
    """The address of a sweep's store: the given or resolved one, else the SQLite store inside the storage."""
    local = f"{_SQLITE}{Path(storage).absolute() / DATABASE}"
    return resolve_uri(uri, None) or local


def sweep_uri(storage: Path, sweep: str, uri: str | None = None) -> str:
    """The address of a sweep's store; where nothing else is given, that of the spec it was last launched with."""
    spec = Path(storage) / sweep / "spec.yaml"
    refresh_file(spec)
    given = parse(spec.read_text(encoding="utf-8"), source=str(spec)) if sweep in sweeps_in(storage) else {}
    tracking = given.get("tracking") if isinstance(given, dict) else None
    return store_uri(storage, resolve_uri(uri, (tracking or {}).get("uri")))


def artifacts_of(uri: str) -> Path | None:
    """Folder of the artifacts of a local SQLite store; None for a server, which has its own."""
    path = database_path(uri)
    return path.parent / ARTIFACTS if path else None


def database_path(uri: str) -> Path | None:
    """File of an SQLite store; None for other stores."""
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]) if uri.startswith(_SQLITE) else None


def prepare(uri: str) -> None:
    """Make a local store's folder and database, in write-ahead mode: the UI can read while the projector writes.

    Raises:
        TrackingError: The place is not writable.
    """
    path = database_path(uri)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=30)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise TrackingError(
            f"the MLflow store {path} can not be made or opened ({error}); choose another place with "
            "--storage, or another store with tracking.uri or MLFLOW_TRACKING_URI"
        ) from None


@contextmanager
def commits_without_waiting() -> Iterator[None]:
    """Open SQLite stores so that a commit does not wait for the disk: MLflow commits twenty times a trial.

    In write-ahead mode the database stays whole whatever happens. When the machine loses its power it may lack
    the last commits, as if the projector had ended a little earlier: what is missing is projected again.
    """
    from sqlalchemy import Engine, event

    def relax(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)


def check(uri: str | None) -> None:
    """See within seconds, before anything starts, that an MLflow store answers and lets us in.

    Args:
        uri: Its address; None is the store inside the storage, where there is nothing to ask.

    Raises:
        TrackingError: It does not; says what was tried and what to do.
    """
    if uri is None:
        return
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme in ("http", "https"):
        _check_server(uri)
    elif uri.startswith(_SQLITE):
        prepare(uri)
    elif scheme in _DATABASES:
        _check_database(uri)
    else:
        raise TrackingError(
            f"tracking.uri: {without_password(uri)!r} is not an address this project writes to; allowed: "
            "http(s)://HOST:PORT of an MLflow server, sqlite:///PATH, postgresql://..., or null"
        )


def _check_server(uri: str) -> None:
    import requests

    shown = without_password(uri)
    base = uri.rstrip("/")
    try:
        with requests.Session() as session:
            session.verify = _verify()
            _let_in(session)
            version = session.get(f"{base}/version", timeout=ANSWER_SECONDS)
            search = f"{base}/api/2.0/mlflow/experiments/search?max_results=1"
            answer = session.get(search, timeout=ANSWER_SECONDS)
    except requests.RequestException as error:
        raise TrackingError(
            f"no MLflow server answers at {shown} ({type(error).__name__}); start it, correct tracking.uri or "
            "MLFLOW_TRACKING_URI, or leave both out to use the store inside the storage"
        ) from None
    _judge(shown, version, answer)


def _judge(shown: str, version: requests.Response, answer: requests.Response) -> None:
    if answer.status_code in (401, 403):
        raise TrackingError(
            f"the MLflow server at {shown} refuses these credentials (HTTP {answer.status_code}); set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    if answer.status_code != 200 or "json" not in answer.headers.get("content-type", ""):
        raise TrackingError(
            f"what answers at {shown} is not a working MLflow server (HTTP {answer.status_code} to a search for "
            "experiments); correct tracking.uri or MLFLOW_TRACKING_URI, or look at the server's log"
        )
    found = _version(version.text) if version.status_code == 200 else None
    if found is not None and found < OLDEST_SERVER:
        raise TrackingError(
            f"the MLflow server at {shown} has version {version.text.strip()}; "
            f"{'.'.join(map(str, OLDEST_SERVER))} or newer is needed: upgrade the server"
        )


def _version(text: str) -> tuple[int, ...] | None:
    parts = text.strip().split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(part.isdigit() for part in parts) else None


def _verify() -> bool | str:
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        return False
    return os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True


def _let_in(session: requests.Session) -> None:
    """Give the credentials that MLflow's own client takes from the environment or its file."""
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if not (user and password):
        user, password = _credentials_file()
    if user and password:
        session.auth = (user, password)
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        session.headers["Authorization"] = f"Bearer {token}"


def _credentials_file() -> tuple[str | None, str | None]:
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    parser.read(Path("~/.mlflow/credentials").expanduser())
    get = functools.partial(parser.get, "mlflow", fallback=None)
    return get("mlflow_tracking_username"), get("mlflow_tracking_password")


def _check_database(uri: str) -> None:
    import sqlalchemy

    arguments = {"connect_timeout": int(ANSWER_SECONDS)} if uri.startswith("postgresql") else {}
    try:
        engine = sqlalchemy.create_engine(uri, connect_args=arguments)
        with engine.connect():
            pass
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        words = without_password(str(error)).splitlines()[0]
        raise TrackingError(
            f"the database {without_password(uri)} can not be opened ({words}); "
            "correct tracking.uri or MLFLOW_TRACKING_URI; an address names its driver: postgresql+psycopg2://..."
        ) from None
