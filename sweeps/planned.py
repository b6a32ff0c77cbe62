"""A trial of a plan by name, with its replicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

from sweeps.assembly import build_trial
from sweeps.document import Document
from sweeps.seeds import Seeds
from sweeps.space import Point
from sweeps.trial_spec import TrialSpec


class PlannedReplicate(NamedTuple):
    """A replicate by name."""

    replicate_id: str
    seeds: Seeds


class Replicates(Sequence[PlannedReplicate]):
    """Replicates of a trial, named when one is first looked at: most of a large plan's never are.

    Attributes:
        seeds: Of each.
    """

    __slots__ = ("_named", "_names", "seeds")

    def __init__(self, seeds: Sequence[Seeds], names: Callable[[], Iterable[str]]) -> None:
        self.seeds, self._names = seeds, names
        self._named: tuple[PlannedReplicate, ...] | None = None

    @classmethod
    def of(cls, named: Iterable[PlannedReplicate]) -> Replicates:
        """Replicates that have names already."""
        known = tuple(named)
        return cls([one.seeds for one in known], lambda: [one.replicate_id for one in known])

    def where(self, keep: Callable[[PlannedReplicate], bool]) -> Replicates:
        """Some of them."""
        return Replicates.of(filter(keep, self))

    def _all(self) -> tuple[PlannedReplicate, ...]:
        if self._named is None:
            self._named = tuple(map(PlannedReplicate, self._names(), self.seeds))
        return self._named

    def __len__(self) -> int:
        return len(self.seeds)

    @overload
    def __getitem__(self, place: int) -> PlannedReplicate: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[PlannedReplicate]: ...
    def __getitem__(self, place: int | slice) -> PlannedReplicate | Sequence[PlannedReplicate]:
        return self._all()[place]

    def __iter__(self) -> Iterator[PlannedReplicate]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._all() == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[Callable[..., Replicates], tuple[tuple[PlannedReplicate, ...]]]:
        return Replicates.of, (self._all(),)


@dataclass(frozen=True)
class PlannedTrial:
    """A trial by name, with all its replicates.

    Attributes:
        role: `twin` when nothing is pruned, else `pruned`.
        twin: Name of the unpruned trial with everything else equal, when the plan has it.
        point: Values of the dimensions that make a difference to this trial.
    """

    trial_id: str
    role: str
    twin: str | None
    point: Point
    spec: TrialSpec
    fingerprint: str
    replicates: Replicates

    def document(self) -> Document:
        """Plain values, as `plan.json` and `trial.json` hold them."""
        return {
            "trial_id": self.trial_id,
            "role": self.role,
            "twin": self.twin,
            "point": self.point,
            "fingerprint": self.fingerprint,
            "config": self.spec.document(),
            "replicates": [{"replicate_id": r.replicate_id, "seeds": r.seeds.document()} for r in self.replicates],
        }

    @classmethod
    def from_document(cls, plain: Document) -> PlannedTrial:
        """Inverse of `document`."""
        return cls(
            **{name: plain[name] for name in ("trial_id", "role", "twin", "point", "fingerprint")},
            spec=build_trial(plain["config"]),
            replicates=Replicates.of(
                PlannedReplicate(one["replicate_id"], Seeds.from_document(one["seeds"]))
                for one in plain["replicates"]
            ),
        )
