"""A limit on the time of a trial, for one that is slow and for one that hangs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from sweeps.errors import StorageError
from sweeps.status import TIME_OVER, Status
from sweeps.trial import TrialRun

# How much longer than its limit a trial may be silent before its process ends: one that comes back is saved.
PATIENCE = 1.25
GRACE_SECONDS = 5.0


class Watchdog:
    """Ends a trial whose time is over: between epochs if it comes there, else together with its process.

    Trials of a pack are trained at the same time: together they have the time of all of them. When their process
    hangs, nobody knows whose doing that is; nothing is recorded, and in the end each is trained alone.

    Args:
        minutes: Of one trial in one process; None for no limit.
    """

    def __init__(self, minutes: float | None) -> None:
        self._minutes = minutes
        self._begun = time.monotonic()
        self._watched: Sequence[TrialRun] | None = None
        self._timer: threading.Timer | None = None

    def watch(self, runs: Sequence[TrialRun]) -> None:
        """Begin to count, for these trials; where it counts for them already, it goes on."""
        if self._watched is runs:
            return
        self.rest()
        self._begun, self._watched = time.monotonic(), runs
        if self._minutes is not None:
            seconds = 60 * self._minutes * len(runs)
            self._timer = threading.Timer(seconds * PATIENCE + GRACE_SECONDS, self._give_up, [runs])
            self._timer.daemon = True
            self._timer.start()

    def rest(self) -> None:
        """Stop counting."""
        self._watched = None
        if self._timer is not None:
            self._timer.cancel()

    def end_if_over(self, runs: Sequence[TrialRun]) -> None:
        """End the trials between two epochs when their time is over; they are saved."""
        if self._minutes is not None and time.monotonic() - self._begun >= 60 * self._minutes * len(runs):
            for run in runs:
                run.stop(f"{self._reason} after epoch {run.epoch}", Status.FAILED)

    def _give_up(self, runs: Sequence[TrialRun]) -> None:
        # Nothing can be trusted to come back from a thread that hangs, and Ray starts another process.
        if len(runs) == 1:
            runs[0].end(Status.FAILED, f"{self._reason}: it hangs, after epoch {runs[0].epoch}")
            with suppress(StorageError):  # then it is the driver that records it
                runs[0].settle()
        os._exit(1)

    @property
    def _reason(self) -> str:
        return f"{TIME_OVER}: {self._minutes:g} min were over"
