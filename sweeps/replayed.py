"""What a replay found: two accounts of one training, the recorded and the replayed one, compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.wording import counted

_NOT_COMPARED = ("epoch", "time")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """One number that came out otherwise; None is one that is not finite, or not there."""

    epoch: int
    metric: str
    recorded: float | None
    replayed: float | None

    @property
    def size(self) -> float:
        """|a - b| / max(|a|, |b|); infinite where only one of them is a number."""
        a, b = self.recorded, self.replayed
        if a is None or b is None:
            return 0.0 if a is b else math.inf
        return abs(a - b) / max(abs(a), abs(b)) if a != b else 0.0

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}, {self.metric}: recorded {self.recorded!r}, replayed {self.replayed!r}, "
            f"relative difference {self.size:.3g}"
        )


@dataclass(frozen=True)
class Account:
    """What there is to know of a training that has ended.

    Attributes:
        rows: An epoch each.
        final: Numbers of the end: test metrics and, where they are to be compared, measures and layers.
        status: How it ended.
        reason: Why.
        digests: Of its files by name, where they are to be compared.
    """

    rows: tuple[Row, ...]
    final: Row
    status: str
    reason: str
    digests: Mapping[str, str]

    @property
    def all_rows(self) -> dict[tuple[int, str], Row]:
        """Rows by epoch, that of the end last."""
        rows = {(int(row["epoch"]), "epoch"): row for row in self.rows}
        return rows | {(len(self.rows), "end"): self.final}


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes:
        trial_id: The trial.
        replicate_id: The replicate.
        layout: In words, what was trained.
        tolerance: Relative; 0 asks for the same bits.
        recorded: The training of the record.
        replayed: That of today.
        surroundings: By name, what differs between the recorded environment and this one.
        changed: Registered functions that it uses, where one of them is another than when it was recorded.
    """

    trial_id: str
    replicate_id: str
    layout: str
    tolerance: float
    recorded: Account
    replayed: Account
    surroundings: Mapping[str, tuple[Any, Any]]
    changed: str = ""

    @property
    def epochs(self) -> int:
        """Epochs that were compared."""
        return min(len(self.recorded.rows), len(self.replayed.rows))

    @property
    def ending(self) -> tuple[str, str]:
        """How the replicate ended, recorded and replayed."""
        return self.recorded.status, self.replayed.status

    @property
    def pairs(self) -> list[Difference]:
        """Every number that both have, in order, whether it differs or not."""
        ours, theirs = self.recorded.all_rows, self.replayed.all_rows
        return [
            Difference(key[0], metric, ours[key][metric], theirs[key][metric])
            for key in ours
            if key in theirs
            for metric in sorted(ours[key].keys() & theirs[key].keys())
            if _is_compared(metric)
        ]

    @property
    def first(self) -> Difference | None:
        """The first number that differs by more than the tolerance; None when there is none."""
        return next((one for one in self.pairs if one.size > self.tolerance), None)

    @property
    def largest(self) -> Difference | None:
        """The number that differs most, the tolerance aside; None when all are the same bits."""
        return max((one for one in self.pairs if one.size), key=lambda one: one.size, default=None)

    @property
    def one_sided(self) -> dict[str, str]:
        """Names that only one of the two has, as a record of another version may, and which one."""
        ours, theirs = self.recorded.all_rows, self.replayed.all_rows
        found: dict[str, str] = {}
        for key in ours.keys() & theirs.keys():
            for name in filter(_is_compared, ours[key].keys() ^ theirs[key].keys()):
                found[name] = "recorded" if name in ours[key] else "replayed"
        return dict(sorted(found.items()))

    @property
    def other_files(self) -> list[str]:
        """Files whose content is not the recorded one's."""
        ours, theirs = self.recorded.digests, self.replayed.digests
        return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))

    @property
    def ends_alike(self) -> bool:
        """Whether both ended in the same epoch and way and, where the bits are to be the same, the same step."""
        ours, theirs = self.recorded, self.replayed
        same_step = self.tolerance > 0 or ours.status != "diverged" or ours.reason == theirs.reason
        return ours.status == theirs.status and len(ours.rows) == len(theirs.rows) and same_step

    @property
    def is_equal(self) -> bool:
        """Whether something was compared, and nothing differs by more than the tolerance."""
        compared = bool(self.pairs) or self.recorded.status == "diverged"
        return compared and self.first is None and self.ends_alike and not self.other_files

    def lines(self) -> Iterator[str]:
        """What there is to say, for a terminal."""
        yield f"{self.trial_id}/{self.replicate_id}: {counted(self.epochs, 'epoch')} compared, {self.layout}"
        yield from self._on_numbers()
        if not self.ends_alike:
            yield f"recorded as {_end_of(self.recorded)}; it ended as {_end_of(self.replayed)}"
        elif self.recorded.status == "failed":
            yield f"recorded as failed ({self.recorded.reason}): only the epochs before were trained again"
        elif self.recorded.status == "diverged":
            yield f"diverged as recorded: {self.replayed.reason}"
        if self.other_files:
            yield f"not the recorded content: {', '.join(self.other_files)}"
        for name, where in self.one_sided.items():
            yield f"not compared: {name}, only {where}"
        for name, (recorded, here) in self.surroundings.items():
            yield f"environment: {name} was {recorded}, is {here}"
        if self.changed:
            yield f"a function that it uses has another version or source than in its record: {self.changed}"
        if not self.is_equal and not self.surroundings and not self.changed:
            yield "the recorded environment is this one"

    def _on_numbers(self) -> Iterator[str]:
        if not self.pairs:
            yield "there is no number to compare"
        elif self.first is not None:
            yield f"the history differs first at {self.first}"
            yield f"largest: {self.largest}"
        elif self.largest is not None:
            yield f"the history is equal to {self.tolerance:g} relative; largest: {self.largest}"
        elif self.is_equal:
            yield "the history is equal, bit for bit"
        else:
            yield "the numbers that both have are equal"


def _is_compared(metric: str) -> bool:
    return metric not in _NOT_COMPARED and not metric.endswith("seconds")


def _end_of(account: Account) -> str:
    because = f" ({account.reason})" if account.reason else ""
    return f"{account.status}{because} after {counted(len(account.rows), 'epoch')}"
