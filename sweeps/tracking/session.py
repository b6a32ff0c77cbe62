"""One projection from beginning to end: alone on a sweep, following it or not, and what is left when it ends."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sweeps.errors import SweepNotFound, TrackingError
from sweeps.tracking import lag as lags
from sweeps.tracking.client import Client, Unavailable, settings
from sweeps.tracking.lag import Lag
from sweeps.tracking.projection import Projection
from sweeps.tracking.store import artifacts_of, check, commits_without_waiting, database_path, prepare, store_uri
from sweeps.tracking.tree import require_owner

log = logging.getLogger("sweeps.tracking")
LOCK = ".projector.lock"
PASS_SECONDS = (5.0, 8.0)  # an epoch is to be seen within ten seconds, and each look costs the trainings' cores
PASSES_PER_CPU = 50.0  # a pass is followed by a pause of so many times its CPU time: 2 % of one core
PATIENCE_SECONDS = 30.0
BACKOFF_SECONDS = (1.0, 30.0)
LINGER_SECONDS = 120.0
LOCK_SECONDS = 10.0
_WRITTEN_ANYWAY = "another projector is at work on {}: while the sweep runs it is brought to MLflow anyway"
_STILL_WRITING = (
    "{} is still being brought to MLflow, by a driver's projector (which ends two minutes after the driver at the "
    "latest) or by sweeps sync; delete it once that has ended"
)


def project(
    storage: Path,
    sweep: str,
    uri: str | None = None,
    *,
    follow: bool = False,
    rebuild: bool = False,
    wait: Callable[[float], bool] | None = None,
    linger: float = LINGER_SECONDS,
) -> Lag:
    """Bring MLflow up to the records of a sweep.

    Args:
        storage: Storage root.
        sweep: Name of the sweep.
        uri: Store to write to; None for `store_uri`'s choice.
        follow: Go on with what is still being trained until `wait` says that the sweep has ended.
        rebuild: Retire what the store holds of the sweep and project everything anew.
        wait: Waits for some seconds, True once the sweep has ended; by default it never ends.
        linger: After the end, how many seconds to go on trying a store that does not answer.

    Returns:
        What could not be projected.

    Raises:
        SweepNotFound: The storage has no such sweep.
        TrackingError: Nobody answers at the address, or another projector is at work on the sweep.
    """
    folder = Path(storage).absolute() / sweep
    if not folder.is_dir():
        raise SweepNotFound(f"no sweep {sweep!r} in {storage}")
    address = store_uri(Path(storage), uri)
    if not follow:
        check(address)
    with settings(), commits_without_waiting(), _alone(folder):
        projection = Projection(folder, lambda: _connect(address), artifacts_of(address))
        if rebuild:
            _retire(_connect(address), sweep, folder, "replaced")
        if follow:
            _follow(projection, wait or _sleep)
        lag = _finish(projection, linger, interrupted=follow)
    lags.write(folder, lag)
    return lag


def delete(storage: Path, sweep: str, uri: str | None = None, *, patience: float = LOCK_SECONDS) -> None:
    """Delete the runs of a sweep. MLflow keeps them, restorable, under another name of the experiment.

    Args:
        storage: Storage root.
        sweep: Name of the sweep.
        uri: Store to delete from; None for `store_uri`'s choice.
        patience: Seconds to wait for a projector to end.

    Raises:
        TrackingError: Nobody answers at the address, or a projector is at work on the sweep, whatever store it
            writes to: it would go on with records that are about to be deleted.
    """
    folder = Path(storage).absolute() / sweep
    address = store_uri(Path(storage), uri)
    path = database_path(address)
    with settings(), _alone(folder, patience, otherwise=_STILL_WRITING):
        if path is not None and not path.exists():
            return
        check(address)
        _retire(_connect(address), sweep, folder, "deleted")


def _connect(uri: str) -> Client:
    prepare(uri)
    return Client(uri)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _follow(projection: Projection, wait: Callable[[float], bool]) -> None:
    """Pass after pass until the sweep ends; the store's failures only make the pauses longer."""
    failures, ended, tell = 0, False, partial(lags.write, projection.folder)
    while not ended:
        begun = time.process_time()
        lag = projection.run_once(until=lambda: wait(0.0), patience=PATIENCE_SECONDS, tell=tell)
        took = time.process_time() - begun
        tell(lag)
        failures = failures + 1 if lag.reason else 0
        if lag.reason:
            log.warning("%s", lag)
        ended = wait(_pause(took, failures))


def _pause(took: float, failures: int) -> float:
    """Seconds until the next pass: a fixed share of the machine, longer and longer while the store fails."""
    if failures:
        shortest, longest = BACKOFF_SECONDS
        return min(longest, shortest * 2.0 ** min(failures - 1, 10))
    shortest, longest = PASS_SECONDS
    return min(longest, max(shortest, PASSES_PER_CPU * took))


def _finish(projection: Projection, linger: float, *, interrupted: bool) -> Lag:
    """Passes until nothing is left, or the store has failed for `linger` seconds."""
    deadline, failures = time.monotonic() + linger, 0
    while True:
        lag = projection.run_once(tell=partial(lags.write, projection.folder))
        is_done = lag.is_complete or (bool(lag.refused) and not lag.reason)
        if is_done:
            try:
                projection.close(interrupted=interrupted)
            except Unavailable as error:
                lag, is_done = lags.unreachable(lag, str(error)), False
        lags.write(projection.folder, lag)
        if is_done:
            return lag
        failures += 1
        left = deadline - time.monotonic()
        if left <= 0:
            return lag
        time.sleep(min(left, _pause(0.0, failures)))  # the last try is at the deadline itself


def _retire(client: Client, sweep: str, folder: Path, why: str) -> None:
    found = client.experiment(sweep)
    if found is not None and found.lifecycle_stage != "deleted":
        require_owner(client.uri, found, lags.identity(folder))
        client.retire_experiment(found.experiment_id, f"{sweep} ({why} {time.strftime('%Y-%m-%d %H.%M.%S')})")


@contextmanager
def _alone(folder: Path, patience: float = LOCK_SECONDS, *, otherwise: str = _WRITTEN_ANYWAY) -> Iterator[None]:
    """One projector a sweep on this machine; another machine's doubles are found and deleted.

    Args:
        folder: The sweep's.
        patience: Seconds to wait for another one to end.
        otherwise: What to say of the sweep, `{}`, when it has not.

    Raises:
        TrackingError: Another one is at work.
    """
    with (folder / LOCK).open("w") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TrackingError(otherwise.format(folder.name)) from None
                time.sleep(0.1)
        yield
