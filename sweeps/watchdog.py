"""A limit on the time of a trial, for one that is slow and for one that hangs."""

from __future__ import annotations

import os
import threading
import time

from sweeps.status import TIME_OVER, Status
from sweeps.trial import TrialRun

# How much longer than its limit a trial may be silent before its process ends: one that comes back is saved.
PATIENCE = 1.25
GRACE_SECONDS = 5.0


class Watchdog:
    """Ends a trial whose time is over: between epochs if it comes there, else together with its process.

    Args:
        minutes: Of one trial in one process; None for no limit.
    """

    def __init__(self, minutes: float | None) -> None:
        self._minutes = minutes
        self._begun = time.monotonic()
        self._timer: threading.Timer | None = None

    def watch(self, run: TrialRun) -> None:
        """Begin to count, for this trial."""
        self.rest()
        self._begun = time.monotonic()
        if self._minutes is not None:
            self._timer = threading.Timer(60 * self._minutes * PATIENCE + GRACE_SECONDS, self._give_up, [run])
            self._timer.daemon = True
            self._timer.start()

    def rest(self) -> None:
        """Stop counting."""
        if self._timer is not None:
            self._timer.cancel()

    def end_if_over(self, run: TrialRun) -> None:
        """End a trial between two epochs when its time is over; it is saved."""
        if self._minutes is not None and time.monotonic() - self._begun >= 60 * self._minutes:
            run.stop(f"{self._reason} after epoch {run.epoch}", Status.FAILED)

    def _give_up(self, run: TrialRun) -> None:
        # Nothing can be trusted to come back from a thread that hangs, and Ray starts another process.
        run.end(Status.FAILED, f"{self._reason}: it hangs, after epoch {run.epoch}")
        os._exit(1)

    @property
    def _reason(self) -> str:
        return f"{TIME_OVER}: {self._minutes:g} min were over"
