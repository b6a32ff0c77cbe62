"""What a worker has written and its store has not yet: sent in the background, in an order that tells no lies.

Training does not wait for a store, but for the end of a trial, where everything has to be there. Within a folder
files go in the order they were written (a record after the files that it vouches for), folders go side by side,
and a deletion waits for everything before it (a checkpoint goes when its trial's records are there).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

AT_ONCE = 8


class _Due(NamedTuple):
    """By when something is to be done, and how it is deleted; None for a file to send."""

    by: float
    delete: Callable[[Path], None] | None


class Uploads:
    """Files to send and to delete.

    Args:
        send: Puts a file's content into the store.
    """

    def __init__(self, send: Callable[[Path], None]) -> None:
        self._send_file = send
        self._due: dict[Path, _Due] = {}
        self._changed = threading.Condition()
        self._is_sending = self._is_settling = False
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def send(self, path: Path, *, within: float = 0.0) -> None:
        """Send a file, in so many seconds at the latest."""
        self._add(path, _Due(time.monotonic() + within, None))

    def delete(self, path: Path, how: Callable[[Path], None]) -> None:
        """Delete a file or a folder."""
        self._add(path, _Due(time.monotonic(), how))

    def _add(self, path: Path, due: _Due) -> None:
        with self._changed:
            before = self._due.pop(path, due)  # to the end: what it vouches for may have changed too
            self._due[path] = due._replace(by=min(before.by, due.by))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self) -> None:
        """Wait until everything is in the store.

        Raises:
            StorageError: The store did not take it for as long as patience lasts; what is left is tried again.
        """
        with self._changed:
            self._error, self._is_settling = None, True
            try:
                while self._due or self._is_sending:
                    self._changed.notify_all()
                    self._changed.wait()
                    if self._error is not None:
                        raise self._error
            finally:
                self._is_settling = False

    def _work(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upload") as pool:
            while True:
                taken = self._take()
                try:
                    self._carry_out(taken, pool)
                except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits has to hear of it
                    self._give_back(taken, error)
                else:
                    with self._changed:
                        self._is_sending = False
                        self._changed.notify_all()

    def _give_back(self, taken: Mapping[Path, _Due], error: Exception) -> None:
        """Keep what could not be sent for the next time that somebody writes or waits."""
        with self._changed:
            # What was written meanwhile comes after.
            self._due = {path: one for path, one in taken.items() if path not in self._due} | self._due
            self._is_sending, self._error = False, error
            self._changed.notify_all()
            self._changed.wait()

    def _take(self) -> dict[Path, _Due]:
        """Wait until something is due, and take everything."""
        with self._changed:
            while not self._due or (not self._is_settling and self._next() > time.monotonic()):
                self._changed.wait(max(0.0, self._next() - time.monotonic()) if self._due else None)
            taken, self._due, self._is_sending = self._due, {}, True
            return taken

    def _next(self) -> float:
        return min(due.by for due in self._due.values())

    def _carry_out(self, taken: Mapping[Path, _Due], pool: ThreadPoolExecutor) -> None:
        folders: dict[Path, list[Path]] = {}
        for path, due in taken.items():
            if due.delete is None:
                folders.setdefault(path.parent, []).append(path)
                continue
            self._send(folders, pool)
            folders = {}
            due.delete(path)
        self._send(folders, pool)

    def _send(self, folders: Mapping[Path, list[Path]], pool: ThreadPoolExecutor) -> None:
        def one(paths: list[Path]) -> None:
            for path in paths:
                self._send_file(path)

        done, _ = wait([pool.submit(one, paths) for paths in folders.values()])
        for each in done:
            each.result()
