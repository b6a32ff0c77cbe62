"""The layout of a trial: which replicates train as one stack, and on what.

Floating-point sums depend on it, so it is chosen when a trial first starts, stored beside its records, and
reused by every later launch: a stack that was cut short trains whole again, and seeds that are added later
form a stack of their own.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps import storage
from sweeps.planning import PlannedReplicate
from sweeps.seeds import Seeds

LAYOUT = "layout.json"


@dataclass(frozen=True)
class Stack:
    """Replicates trained together.

    Attributes:
        members: Their names, in the order of the stack.
        seeds: Their seeds; all members share data order and split.
        threads: CPU threads of the training.
        device: `cpu` or `cuda`.
        dtype: Name of the torch type of the weights.
    """

    members: tuple[str, ...]
    seeds: tuple[Seeds, ...]
    threads: int
    device: str = "cpu"
    dtype: str = "float32"


def choose(replicates: Sequence[PlannedReplicate], *, threads: int, device: str) -> list[Stack]:
    """One stack for each data order and split."""

    def shared(replicate: PlannedReplicate) -> tuple[int, int]:
        return replicate.seeds.data_order, replicate.seeds.split

    groups = itertools.groupby(sorted(replicates, key=shared), key=shared)
    return [
        Stack(tuple(r.replicate_id for r in group), tuple(r.seeds for r in group), threads, device)
        for group in (list(members) for _, members in groups)
    ]


def settle(folder: Path, wanted: Sequence[PlannedReplicate], *, threads: int, device: str) -> list[Stack]:
    """Stacks that give every wanted replicate its record: known ones as they were, the rest as new."""
    known = read(folder)
    placed = {name for stack in known for name in stack.members}
    new = choose([r for r in wanted if r.replicate_id not in placed], threads=threads, device=device)
    if new:
        write(folder, [*known, *new])
    names = {r.replicate_id for r in wanted}
    return [stack for stack in known if _any(stack.members, names)] + new


def _any(members: Collection[str], names: Collection[str]) -> bool:
    return any(name in names for name in members)


def read(folder: Path) -> list[Stack]:
    """Stacks of a trial's folder, oldest first; none before its first start."""
    path = folder / LAYOUT
    if not path.exists():
        return []
    return [
        Stack(
            **{
                **plain,
                "members": tuple(plain["members"]),
                "seeds": tuple(map(Seeds.from_document, plain["seeds"])),
            }
        )
        for plain in json.loads(path.read_text())["stacks"]
    ]


def write(folder: Path, stacks: Sequence[Stack]) -> None:
    """Store the stacks of a trial."""
    storage.write_json(folder / LAYOUT, {"stacks": [asdict(stack) for stack in stacks]})
