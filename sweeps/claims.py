"""The lease of a sweep in a bucket, where nothing can be made on condition that it is not there yet.

The file system layer puts an object whole and has no conditional put. So every driver puts a claim of its own, an
object of another name, and only then lists the claims. Whoever lists sees each claim that was put before, so of
two drivers at least one sees the other's, and both never go on:

1. put a claim that is `waiting`;
2. list: if nobody else has a claim, make it `holds`, and list once more (this process may have slept in between);
3. if somebody holds, or waits under a smaller name, take the claim back and name that driver;
4. if somebody waits under a larger name, that one withdraws or had listed before: look again.

A claim is dead when its process is gone from this machine, or after `EXPIRY_SECONDS` by the store's own clock
without having been put anew; whoever comes next deletes it. A driver whose claim was deleted (its machine slept,
its network was cut for so long) finds that out with its next sign of life, and ends.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sweeps import mirror
from sweeps.bucket import Bucket, Entry
from sweeps.errors import StorageUnreachable

STOP = "stop.json"
AGAIN_SECONDS = 0.2
EXPIRY_SECONDS = 90.0
Holder = dict[str, Any]


def of(sweep: Path) -> Claims | None:
    """The claims on a sweep that is kept in a bucket; None for one in a folder."""
    copy = mirror.of(sweep)
    return None if copy is None else Claims(Bucket(copy.bucket.address), copy.key(sweep / mirror.CLAIMS))


def machine() -> str:
    """What tells this machine from others of its name, and a container from its machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux: the sign of life alone counts
        return ""


@dataclass
class Claims:
    """The claims on one sweep.

    Attributes:
        bucket: Where it is kept.
        folder: Key that all claims begin with.
        expiry: Seconds without a sign of life after which a claim from another machine is dead.
        name: Of this process's own claim.
    """

    bucket: Bucket
    folder: str
    expiry: float = EXPIRY_SECONDS
    name: str = field(default_factory=lambda: uuid.uuid4().hex)

    def holder(self) -> Holder | None:
        """Who holds the sweep and is alive."""
        now = time.time()
        claims = (claim for _, entry, claim in self._others() if self._is_alive(claim, entry, now))
        return next((claim for claim in claims if claim["holds"]), None)

    def take(self, mine: Holder) -> Holder | None:
        """Claim the sweep; returns who holds it instead, None when this process does now."""
        held = False
        try:
            while True:
                self._put(mine, holds=held)
                first = self._first_of_the_living(after_me=not held)
                if first is None and held:
                    self.is_asked_to_stop()  # meant for a driver that is gone
                    return None
                if first is not None and (first[1]["holds"] or first[0] < self.name):
                    self.release()
                    return first[1]
                held = first is None
                if first is not None:
                    time.sleep(AGAIN_SECONDS)
        except BaseException:
            self.release()
            raise

    def _first_of_the_living(self, *, after_me: bool) -> tuple[str, Holder] | None:
        """The claim that counts most among those of others: one that holds, else the smallest name."""
        (own,) = self.bucket.look(self._key(self.name))
        now = own.modified / 1e9 if own else time.time()
        living = []
        for name, entry, claim in self._others():
            if self._is_alive(claim, entry, now):
                living.append((not claim["holds"], name, claim))
            else:
                self.bucket.delete(self._key(name))
        # Once this one holds, those that wait are no matter: they see it.
        counted = [one for one in living if after_me or not one[0]]
        return min(counted, key=lambda one: one[:2])[1:] if counted else None

    def beat(self, mine: Holder) -> bool:
        """Show a sign of life; false when somebody has taken the claim for dead."""
        (own,) = self.bucket.look(self._key(self.name))
        if own is not None:
            self._put(mine, holds=True)
        return own is not None

    def release(self) -> None:
        """Give the claim back; where the store does not answer, it expires by itself."""
        with suppress(StorageUnreachable):
            self.bucket.delete(self._key(self.name))

    def ask_to_stop(self, request: Holder) -> None:
        """Leave a request to stop for whoever holds the sweep."""
        self.bucket.write(f"{self.folder}/{STOP}", json.dumps(request).encode())

    def is_asked_to_stop(self) -> bool:
        """Whether there is such a request; it is taken away."""
        (found,) = self.bucket.look(f"{self.folder}/{STOP}")
        if found is not None:
            self.bucket.delete(f"{self.folder}/{STOP}")
        return found is not None

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}.json"

    def _put(self, mine: Holder, *, holds: bool) -> None:
        claim = {**mine, "machine": machine(), "holds": holds, "alive": time.time()}
        self.bucket.write(self._key(self.name), json.dumps(claim).encode())

    def _others(self) -> Iterator[tuple[str, Entry, Holder]]:
        for key, entry in self.bucket.below(self.folder).items():
            name = Path(key).stem
            if Path(key).name == STOP or name == self.name:
                continue
            with suppress(ValueError, KeyError, TypeError):  # none of ours
                claim = json.loads(self.bucket.read(key) or b"")
                if {"host", "process", "process_started", "machine", "taken", "holds"} <= claim.keys():
                    yield name, entry, claim

    def _is_alive(self, claim: Holder, entry: Entry, now: float) -> bool:
        if claim["machine"] and claim["machine"] == machine():
            return is_running(claim)
        return now - entry.modified / 1e9 <= self.expiry


def is_running(holder: Holder) -> bool:
    """Whether a process of this machine still runs."""
    try:
        # A process number is given again some day; the time it was started is not.
        started = psutil.Process(holder["process"]).create_time()
    except psutil.NoSuchProcess:
        return False
    return bool(abs(started - holder["process_started"]) < 1.0)
