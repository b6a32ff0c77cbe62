"""How a replicate ends, as a value: a failure is one of the four, not an exception that leaves the trial."""

from enum import StrEnum


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
