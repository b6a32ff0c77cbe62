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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from sweeps import storage
from sweeps.errors import SweepError

FILE = "lease.json"
BEAT_SECONDS = 15.0
EXPIRY_SECONDS = 90.0


class SweepIsDriven(SweepError, RuntimeError):
    """Another driver is at work on the sweep; the message says which."""


@contextmanager
def lease(sweep: Path) -> Iterator[None]:
    """Hold the lease of a sweep, and show signs of life until the end.

    Raises:
        SweepIsDriven: Somebody else holds it and is alive.
    """
    holder = _read(sweep)
    if holder is not None and _is_alive(holder):
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["taken"]))
        raise SweepIsDriven(
            f"{sweep.name} is being driven by process {holder['process']} on {holder['host']} since {since}; "
            f"wait for it (sweeps status {sweep.name}), or end it and launch again"
        )
    mine = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "taken": time.time(),
    }
    stop = threading.Event()
    _write(sweep, mine)
    beating = threading.Thread(target=_beat, args=(sweep, mine, stop), name="lease", daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        (sweep / FILE).unlink(missing_ok=True)


def _beat(sweep: Path, mine: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(BEAT_SECONDS):
        _write(sweep, mine)


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
