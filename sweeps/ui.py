"""MLflow's UI on this machine for a sweep's store, and links that land on the sweep, not on its start page."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sweeps import mlflow_query
from sweeps.errors import TrackingError
from sweeps.interrupts import terminated_like_interrupted
from sweeps.tracking.store import artifacts_of, check, database_path, prepare, store_uri, sweep_uri
from sweeps.tracking.view import CURVES, TRIALS
from sweeps.tracking.view import link as view_link

HOST = "127.0.0.1"
# Below those that systems hand out by themselves: to connections, and to whoever asks for any port.
PORTS = range(20_000, 32_000)
START_SECONDS = 120.0
STOP_SECONDS = 10.0
SETTINGS = {
    "MLFLOW_TRACKING_URI": "",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # workers of its GenAI features, which cost seconds to start
}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(
    storage: Path,
    sweep: str | None,
    port: int = 5000,
    *,
    uri: str | None = None,
    say: Callable[[str], None] = _say,
) -> None:
    """Serve the UI until interrupted and say the link; where a server keeps the runs already, only say the link.

    Args:
        storage: Storage root.
        sweep: Sweep to land on; None lands on the list of sweeps.
        port: On loopback; 0 takes a free one.
        uri: Address of the store, instead of `MLFLOW_TRACKING_URI` and the spec's.
        say: Called with each line for the person who started it.

    Raises:
        SweepNotFound: The store holds no such sweep; lists those it has.
        TrackingError: There is nothing to serve yet, or the port is taken.
    """
    uri = sweep_uri(Path(storage), sweep, uri) if sweep else store_uri(Path(storage), uri)
    if uri.startswith("http"):
        check(uri)
        say(_links(uri, sweep, uri))
        return
    with terminated_like_interrupted(), server(uri, port) as base:
        shown = f"{_links(base, sweep, uri)}\nMLflow's UI runs here until Ctrl-C."
        with contextlib.suppress(KeyboardInterrupt):
            say(shown)
            while True:  # not signal.pause(), which misses an interrupt just before it
                time.sleep(1)


def link(base: str, sweep: str | None, uri: str | None = None, view: str = TRIALS) -> str:
    """Address of a sweep's trials in the UI: the objective's statistics and the dimensions as columns, best first.

    Args:
        base: Address of the UI.
        sweep: Name of the sweep; None for the list of sweeps.
        uri: Address of the store, `base` when not given.
        view: `trials`, `replicates`, `curves` or `tree`.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    if sweep is None:
        return f"{base.rstrip('/')}/#/experiments"
    return view_link(base, mlflow_query.experiment(sweep, uri or base), view)


def _links(base: str, sweep: str | None, uri: str) -> str:
    trials = link(base, sweep, uri)
    return f"{trials}\ncurves: {link(base, sweep, uri, CURVES)}" if sweep else trials


@contextlib.contextmanager
def server(uri: str, port: int = 0, *, extra: Sequence[str] = ()) -> Iterator[str]:
    """An MLflow server for a store on loopback; gives its address and ends it.

    Args:
        uri: The store's address.
        port: 0 takes a free one.
        extra: Further options of `mlflow server`.

    Raises:
        TrackingError: There is no store yet, the port is taken, or the server does not come up.
    """
    path = database_path(uri)
    if path is not None and not path.exists():
        raise TrackingError(
            f"there is no MLflow store at {path} yet; `sweeps run` and `sweeps sync NAME` make it from the records"
        )
    prepare(uri)
    chosen = port or free_port()
    _require_free(chosen)
    process = subprocess.Popen([*_command(uri, chosen), *extra], env=os.environ | SETTINGS, start_new_session=True)
    base = f"http://{HOST}:{chosen}"
    try:
        _wait_until_up(process, base)
        yield base
    finally:
        _end(process)


def _command(uri: str, port: int) -> list[str]:
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    artifacts = artifacts_of(uri)
    if artifacts is not None:
        command += ["--artifacts-destination", str(artifacts)]
    return [
        *command,
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
        "--uvicorn-opts",
        "--log-level=warning",
    ]


def free_port() -> int:
    """A port of loopback that nobody listens on now, and that a server still finds free some seconds later.

    Raises:
        TrackingError: None of the ports tried is free.
    """
    for _ in range(100):
        port = random.SystemRandom().choice(PORTS)
        with contextlib.suppress(OSError):
            _bind(port)
            return port
    raise TrackingError(f"no port of {HOST} from {PORTS.start} to {PORTS.stop} can be had")


def _require_free(port: int) -> None:
    try:
        _bind(port)
    except OSError as error:
        raise TrackingError(
            f"port {port} of {HOST} can not be had ({error.strerror}); give another with --port (0: any)"
        ) from None


def _bind(port: int) -> None:
    """Take a port and give it back."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))


def _wait_until_up(process: subprocess.Popen[bytes], base: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{base}/health", timeout=1):  # noqa: S310 - our own loopback address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TrackingError(f"MLflow's server did not come up at {base}; its own words are above")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, which are a process group of their own."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, sent)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
