"""What can go wrong in a sweep; a message says what, the value, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class SweepError(Exception):
    """Base of every error that `sweeps` raises on purpose; the CLI prints its message without a traceback."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a spec.

    Attributes:
        path: Dotted path of the field, as it is written in the YAML file.
        message: The value and what is allowed there.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SpecError(SweepError, ValueError):
    """A spec that can not be run. Holds every problem that was found, not only the first."""

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = [Problem("", problems)] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(map(str, self.problems)))


class GpuMissing(SweepError, RuntimeError):
    """A training that is given a GPU where torch has none."""


class DataNotFound(SweepError, FileNotFoundError):
    """A data set that is in none of the places looked at; the message lists them and how to get it."""


class StorageError(SweepError, OSError):
    """A storage that can not be read or written."""


class StorageUnusable(StorageError):
    """Records can be neither kept nor read for now, whatever the trial: what was kept before is whole."""


class StorageFull(StorageUnusable):
    """No room is left where records are kept; what was written before is whole."""


class StorageUnreachable(StorageUnusable):
    """A store that did not answer, or refused, for as long as patience lasted; what it holds is whole."""


class NewerFormat(StorageError):
    """A record written by a newer version; it is never trained over."""


class SweepNotFound(SweepError, LookupError):
    """A sweep or trial that the storage does not hold; the message lists what it does hold."""


class TrackingError(SweepError, ConnectionError):
    """An MLflow address that does not answer or refuses."""


class SelectionOnTest(SweepError, ValueError):
    """A choice between trials that would look at test metrics: they report, validation chooses."""
