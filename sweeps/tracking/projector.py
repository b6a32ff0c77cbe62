"""The projector: a process of its own, so that neither training nor the driver's event loop waits for MLflow.

`python -m sweeps.tracking.projector STORAGE NAME --follow` follows a sweep until its standard input ends (it has
ended, or its driver has died); then it makes a last pass and says how things stand. With `--standby` in place of
these it imports MLflow, and then reads these from its standard input.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from sweeps.errors import SweepNotFound, TrackingError
from sweeps.tracking.client import settings, without_password
from sweeps.tracking.launch import LOG, STANDBY
from sweeps.tracking.session import LINGER_SECONDS, project
from sweeps.tracking.store import store_uri

log = logging.getLogger("sweeps.tracking")


def _input_ended(seconds: float) -> bool:
    """Wait for the end of standard input, at most some seconds."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


def _stand_by() -> list[str] | None:
    """Import what takes seconds, then wait for the arguments; None if the driver ends without giving any."""
    with settings():  # some of them are read on import
        import_module("mlflow.store.tracking.sqlalchemy_store")
    line = b""
    while not line.endswith(b"\n"):  # no more than the line: what follows is the end of the sweep
        if not (read := os.read(sys.stdin.fileno(), 1)):
            return None
        line += read
    arguments: list[str] = json.loads(line)
    return arguments


@contextmanager
def _quick_end() -> Iterator[None]:
    """Spare the end of the process a last look at MLflow's million objects, for which its driver waits a second.

    Databases are closed before: that is what else would have closed them.
    """
    from sqlalchemy import Engine, event

    engines: set[Engine] = set()
    event.listen(Engine, "engine_connect", lambda connection: engines.add(connection.engine))
    try:
        yield
    finally:
        for engine in engines:
            engine.dispose()
        gc.freeze()


def _log_into(path: Path) -> None:
    with path.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


def main() -> int:
    """Entry point of the process."""
    os.nice(10)
    is_on_standby = sys.argv[1:] == [STANDBY]
    arguments = _stand_by() if is_on_standby else sys.argv[1:]
    if arguments is None:
        return 0
    given = _parse(arguments)
    if is_on_standby:
        _log_into(given.storage / given.sweep / LOG)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    shown = without_password(store_uri(given.storage, given.uri))
    log.info("projecting %s of %s to %s", given.sweep, given.storage, shown)
    try:
        lag = project(
            given.storage,
            given.sweep,
            given.uri,
            follow=given.follow,
            rebuild=given.rebuild,
            wait=_input_ended,
            linger=given.linger,
        )
    except (TrackingError, SweepNotFound) as error:
        log.error("%s", error)
        return 2
    log.info("%s", lag)
    return 0 if lag.is_complete else 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sweeps.tracking.projector", description=__doc__)
    parser.add_argument("storage", type=Path)
    parser.add_argument("sweep")
    parser.add_argument("--uri", help="store to write to; by default MLFLOW_TRACKING_URI, else the storage's own")
    parser.add_argument("--follow", action="store_true", help="go on until standard input ends")
    parser.add_argument("--rebuild", action="store_true", help="retire what the store holds and project anew")
    parser.add_argument("--linger", type=float, default=LINGER_SECONDS, help="seconds to try after the end")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with _quick_end():
        code = main()
    sys.exit(code)
