"""Why replicates failed, a line a reason: what a launch says at its end, and `sweeps status` whenever asked."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sweeps import records
from sweeps.status import Status
from sweeps.wording import counted

MOST_LINES = 5
MOST_CHARACTERS = 200  # of a reason; torch explains a lack of memory in one line of many hundreds


class Failure(NamedTuple):
    """A reason for which replicates failed.

    Attributes:
        reason: The first line of what the first of them says, shortened.
        replicates: How many failed for it.
        trial: The first of their trials.
    """

    reason: str
    replicates: int
    trial: str

    def __str__(self) -> str:
        return f"{self.replicates} × {self.reason} (trial {self.trial})"


def failures(sweep: Path, planned: Iterable[tuple[str, str]]) -> list[Failure]:
    """The reasons of all replicates whose latest attempt failed, the most frequent first.

    Reasons that differ in numbers and addresses alone (an epoch, a process, a node) are one.

    Args:
        sweep: The sweep's folder.
        planned: Trials and replicates by name.
    """
    counts: Counter[str] = Counter()
    first: dict[str, tuple[str, str]] = {}
    for trial, replicate in planned:
        folder = records.replicate_folder(sweep, trial, replicate)
        record = records.read_record(folder) if records.status_of(folder) is Status.FAILED else None
        if record is not None:
            reason = _first_line(record["reason"])
            kind = re.sub("[0-9a-f]*[0-9][0-9a-f]*", "0", reason)
            counts[kind] += 1
            first.setdefault(kind, (reason, trial))
    return [Failure(first[kind][0], count, first[kind][1]) for kind, count in counts.most_common()]


def _first_line(reason: str) -> str:
    line = next((line for line in reason.splitlines() if line.strip()), "no reason is recorded")
    return textwrap.shorten(line, MOST_CHARACTERS, placeholder=" …")


def lines(found: Sequence[Failure]) -> Iterator[str]:
    """What to say of them: the first five, and how many there are beside."""
    yield from map(str, found[:MOST_LINES])
    if len(found) > MOST_LINES:
        yield f"and {counted(len(found) - MOST_LINES, 'more reason')}"
