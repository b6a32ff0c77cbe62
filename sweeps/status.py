"""How a replicate ends, as a value: a failure is one of the four, not an exception that leaves the trial."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """State of a replicate's record."""

    FINISHED = "finished"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether launching again leaves it alone (a failed one is retried, a stopped one may resume)."""
        return self in (Status.FINISHED, Status.DIVERGED)


TIME_OVER = "limits.trial_minutes"
"""How the reason of a replicate begins whose trial trained longer than that."""


class Retry(StrEnum):
    """What to train again: replicates whose latest attempt ended so.

    `failed`: by their own exception, a lost worker or node, or the time limit; `timed_out`: of these, by the time
    limit, and training goes on where it was saved; `diverged`; `all`: `failed` and `diverged`.
    """

    FAILED = "failed"
    TIMED_OUT = "timed_out"
    DIVERGED = "diverged"
    ALL = "all"

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"retry: {value!r} is not a way to end; allowed: {', '.join(cls)}")

    def asks_for(self, record: Mapping[str, Any]) -> bool:
        """Whether a replicate with this latest record is to be trained again."""
        status = Status(record["status"])
        if self is Retry.TIMED_OUT:
            return status is Status.FAILED and str(record["reason"]).startswith(TIME_OVER)
        return status in _STATUSES[self]


_STATUSES = {
    Retry.FAILED: (Status.FAILED,),
    Retry.DIVERGED: (Status.DIVERGED,),
    Retry.ALL: (Status.FAILED, Status.DIVERGED),
}
