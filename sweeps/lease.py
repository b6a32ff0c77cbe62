"""Who drives a sweep now: an advisory lease beside its records, so that two drivers do not train the same trials.

Advisory, since object stores have no atomic create: two drivers that start within the same instant may both go on,
and then each record is still written whole, by whoever is last. A dead holder's lease ends with its process on the
same host, and after `EXPIRY_SECONDS` without a sign of life on another.
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
from typing import Any

import psutil

from sweeps import storage
from sweeps.errors import SweepError
from sweeps.interrupts import interrupt, terminated_like_interrupted

FILE = "lease.json"
STOP = "stop.json"
BEAT_SECONDS = 15.0
LOOK_SECONDS = 1.0
EXPIRY_SECONDS = 90.0


class SweepIsDriven(SweepError, RuntimeError):
    """Another driver is at work on the sweep; the message says which."""


@dataclass
class Lease:
    """The lease while it is held.

    Attributes:
        stop_requested: Whether somebody asked the driver to stop.
    """

    sweep: Path
    mine: dict[str, Any]
    stop_requested: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def keep(self) -> None:
        """Show signs of life, and look for a request to stop, until the lease ends."""
        beat = 0.0
        while not self.ended.wait(LOOK_SECONDS):
            if time.monotonic() - beat >= BEAT_SECONDS:
                with suppress(OSError):  # a full disk ends no launch here; the next sign of life may find room
                    _write(self.sweep, self.mine)
                beat = time.monotonic()
            if (self.sweep / STOP).exists():
                (self.sweep / STOP).unlink(missing_ok=True)
                self.stop_requested = True
                interrupt()


@contextmanager
def lease(sweep: Path) -> Iterator[Lease]:
    """Hold the lease of a sweep, and show signs of life until the end.

    While it is held, `request_stop` and a termination signal end the driver as Ctrl-C does.

    Raises:
        SweepIsDriven: Somebody else holds it and is alive.
    """
    holder = holder_of(sweep)
    if holder is not None:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["taken"]))
        raise SweepIsDriven(
            f"{sweep.name} is being driven by process {holder['process']} on {holder['host']} since {since}; "
            f"wait for it (sweeps status {sweep.name}), or end it (sweeps stop {sweep.name}) and launch again"
        )
    mine = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "taken": time.time(),
    }
    (sweep / STOP).unlink(missing_ok=True)  # meant for a driver that is gone
    _write(sweep, mine)
    held = Lease(sweep, mine)
    keeping = threading.Thread(target=held.keep, name="lease", daemon=True)
    keeping.start()
    try:
        with terminated_like_interrupted():
            yield held
    finally:
        held.ended.set()
        keeping.join()
        (sweep / FILE).unlink(missing_ok=True)


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
    holder = holder_of(sweep)
    if holder is None:
        return False
    storage.write_json(sweep / STOP, {"asked": time.time(), "by": socket.gethostname()})
    until = time.monotonic() + timeout
    while holder_of(sweep) is not None:
        if time.monotonic() >= until:
            raise SweepIsDriven(
                f"process {holder['process']} on {holder['host']} still drives {sweep.name} after {timeout:g} s; "
                "it was asked to stop and does so when its running epochs end"
            )
        time.sleep(0.2)
    return True


def holder_of(sweep: Path) -> dict[str, Any] | None:
    """Who drives a sweep and is alive."""
    holder = _read(sweep)
    return holder if holder is not None and _is_alive(holder) else None


def _write(sweep: Path, mine: dict[str, Any]) -> None:
    storage.write_json(sweep / FILE, {**mine, "alive": time.time()})


def _read(sweep: Path) -> dict[str, Any] | None:
    try:
        holder: dict[str, Any] = json.loads((sweep / FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return holder


def _is_alive(holder: dict[str, Any]) -> bool:
    if holder["host"] != socket.gethostname():
        return bool(time.time() - holder["alive"] < EXPIRY_SECONDS)
    try:
        # A process number is given again some day; the time it was started is not.
        return abs(psutil.Process(holder["process"]).create_time() - holder["process_started"]) < 1.0
    except psutil.NoSuchProcess:
        return False
