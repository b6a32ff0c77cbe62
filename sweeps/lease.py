"""Who drives a sweep now: a lease beside its records, so that two drivers do not train the same trials.

In a folder it is advisory: two drivers that start within the same instant may both go on, and then each record is
still written whole, by whoever is last. In a bucket it is not (`claims.py`). A dead holder's lease ends with its
process on the same host, and after `EXPIRY_SECONDS` without a sign of life on another.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sweeps import claims, storage
from sweeps.claims import EXPIRY_SECONDS, Claims, Holder, is_running
from sweeps.errors import SweepError
from sweeps.interrupts import interrupt, terminated_like_interrupted

FILE = "lease.json"
STOP = "stop.json"
BEAT_SECONDS = 15.0
LOOK_SECONDS = 1.0


class SweepIsDriven(SweepError, RuntimeError):
    """Another driver is at work on the sweep; the message says which."""


@dataclass(frozen=True)
class _InFolder:
    """The lease of a sweep in a folder: one file, and one for a request to stop."""

    sweep: Path

    def holder(self) -> Holder | None:
        holder = _read(self.sweep)
        return holder if holder is not None and _is_alive(holder) else None

    def take(self, mine: Holder) -> Holder | None:
        holder = self.holder()
        if holder is None:
            (self.sweep / STOP).unlink(missing_ok=True)  # meant for a driver that is gone
            self.beat(mine)
        return holder

    def beat(self, mine: Holder) -> bool:
        storage.write_json(self.sweep / FILE, {**mine, "alive": time.time()})
        return True

    def release(self) -> None:
        (self.sweep / FILE).unlink(missing_ok=True)

    def ask_to_stop(self, request: Holder) -> None:
        storage.write_json(self.sweep / STOP, request)

    def is_asked_to_stop(self) -> bool:
        is_asked = (self.sweep / STOP).exists()
        (self.sweep / STOP).unlink(missing_ok=True)
        return is_asked


def _place_of(sweep: Path) -> _InFolder | Claims:
    return claims.of(sweep) or _InFolder(sweep)


@dataclass
class Lease:
    """The lease while it is held.

    Attributes:
        stop_requested: Whether somebody asked the driver to stop.
        lost: Whether somebody took the driver for dead, and the lease.
    """

    place: _InFolder | Claims
    mine: Holder
    stop_requested: bool = False
    lost: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    keeping: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.keeping = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.keeping.start()

    def rest(self) -> None:
        """Show no more signs of life: the lease ends, or what they are written into is about to be deleted."""
        self.ended.set()
        self.keeping.join()

    def _keep(self) -> None:
        """Show signs of life, and look for a request to stop, until the lease ends."""
        beat = 0.0
        while not self.ended.wait(LOOK_SECONDS):
            # A full disk, a store that does not answer: neither ends a launch here; the next time may go better.
            with suppress(OSError):
                if time.monotonic() - beat >= BEAT_SECONDS:
                    if not self.lost and not self.place.beat(self.mine):
                        self.lost = True
                        interrupt()
                    beat = time.monotonic()
                if self.place.is_asked_to_stop():
                    self.stop_requested = True
                    interrupt()

    @property
    def why(self) -> str:
        """Why the driver was interrupted, if by the lease."""
        if self.stop_requested:
            return "stopped as asked"
        return "the lease is another driver's now: this one gave no sign of life for too long" if self.lost else ""


@contextmanager
def lease(sweep: Path, *, then: str = "launch again") -> Iterator[Lease]:
    """Hold the lease of a sweep, and show signs of life until the end.

    While it is held, `request_stop` and a termination signal end the driver as Ctrl-C does.

    Args:
        sweep: The sweep's folder.
        then: What somebody who is refused may do once the holder has ended.

    Raises:
        SweepIsDriven: Somebody else holds it and is alive.
    """
    place = _place_of(sweep)
    mine = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "taken": time.time(),
    }
    holder = place.take(mine)
    if holder is not None:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["taken"]))
        raise SweepIsDriven(
            f"{sweep.name} is being driven by process {holder['process']} on {holder['host']} since {since}; "
            f"wait for it (sweeps status {sweep.name}), or end it (sweeps stop {sweep.name}) and {then}"
        )
    held = Lease(place, mine)
    try:
        with terminated_like_interrupted():
            yield held
    finally:
        held.rest()
        place.release()


def request_stop(sweep: Path, *, timeout: float) -> bool:
    """Ask whoever drives a sweep to stop: running epochs end, what is recorded stays. Waits until it has.

    Args:
        sweep: The sweep's folder.
        timeout: Seconds.

    Returns:
        Whether there was a driver.

    Raises:
        SweepIsDriven: It still drives after `timeout`.
    """
    place = _place_of(sweep)
    holder = place.holder()
    if holder is None:
        return False
    place.ask_to_stop({"asked": time.time(), "by": socket.gethostname()})
    until = time.monotonic() + timeout
    while place.holder() is not None:
        if time.monotonic() >= until:
            raise SweepIsDriven(
                f"process {holder['process']} on {holder['host']} still drives {sweep.name} after {timeout:g} s; "
                "it was asked to stop and does so when its running epochs end"
            )
        time.sleep(0.2)
    return True


def _read(sweep: Path) -> Holder | None:
    try:
        holder: Holder = json.loads((sweep / FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return holder


def _is_alive(holder: Holder) -> bool:
    if holder["host"] != socket.gethostname():
        return bool(time.time() - holder["alive"] < EXPIRY_SECONDS)
    return is_running(holder)
