"""The layout of a trial: which replicates train as one stack, and on what.

Floating-point sums depend on it, so it is chosen when a trial first starts, stored beside its records, and
reused by every later launch: a stack that was cut short trains whole again, and seeds that are added later
form a stack of their own.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweeps import storage
from sweeps.planned import PlannedReplicate
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
        together: Whether they are computed as one; None leaves it to what is known of the architecture.
        pack: Trials whose stacks of these seeds are computed beside each other, in the order of their places, this
            one's among them; empty for a stack that is computed by itself.
    """

    members: tuple[str, ...]
    seeds: tuple[Seeds, ...]
    threads: int
    device: str = "cpu"
    dtype: str = "float32"
    together: bool | None = None
    pack: tuple[str, ...] = ()


def choose(
    replicates: Sequence[PlannedReplicate], *, threads: int, device: str, most: int | None = None
) -> list[Stack]:
    """One stack for each data order and split, or as few of (nearly) equal size as hold `most` members at most."""

    def shared(replicate: PlannedReplicate) -> tuple[int, int]:
        return replicate.seeds.data_order, replicate.seeds.split

    groups = itertools.groupby(sorted(replicates, key=shared), key=shared)
    return [
        Stack(tuple(r.replicate_id for r in group), tuple(r.seeds for r in group), threads, device)
        for _, members in groups
        for group in _evenly(list(members), most)
    ]


def _evenly(members: list[PlannedReplicate], most: int | None) -> Iterator[list[PlannedReplicate]]:
    count = math.ceil(len(members) / most) if most else 1
    ends = [round(len(members) * number / count) for number in range(count + 1)]
    return (members[start:end] for start, end in itertools.pairwise(ends))


def settle(
    folder: Path,
    wanted: Sequence[PlannedReplicate],
    *,
    threads: int,
    device: str,
    most: int | None = None,
    decide: Callable[[Stack], bool | None] = lambda stack: None,
    pack: tuple[str, ...] = (),
) -> list[Stack]:
    """Stacks that give every wanted replicate its record: known ones as they were, the rest as new.

    Args:
        folder: The trial's, where its stacks are kept.
        wanted: The replicates.
        threads: Of new stacks.
        device: Of new stacks.
        most: Members of a new stack, at most.
        decide: Whether a new stack is computed as one.
        pack: Trials that a new stack is computed beside.
    """
    known = read(folder)
    stacks = expected(folder, wanted, threads=threads, device=device, most=most)
    new = [replace(stack, together=decide(stack), pack=pack) for stack in stacks if stack not in known]
    if new:
        write(folder, [*known, *new])
    return [stack for stack in stacks if stack in known] + new


def expected(
    folder: Path, wanted: Sequence[PlannedReplicate], *, threads: int, device: str, most: int | None = None
) -> list[Stack]:
    """The stacks that `settle` gives, as far as they are known without a decision; nothing is stored."""
    known = read(folder)
    placed = {name for stack in known for name in stack.members}
    unplaced = [r for r in wanted if r.replicate_id not in placed]
    names = {r.replicate_id for r in wanted}
    new = choose(unplaced, threads=threads, device=device, most=most)
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
                "pack": tuple(plain.get("pack", ())),
                "seeds": tuple(map(Seeds.from_document, plain["seeds"])),
            }
        )
        for plain in json.loads(path.read_text())["stacks"]
    ]


def write(folder: Path, stacks: Sequence[Stack]) -> None:
    """Store the stacks of a trial."""
    storage.write_json(folder / LAYOUT, {"stacks": [_document(stack) for stack in stacks]})


def _document(stack: Stack) -> dict[str, Any]:
    """What is stored; a stack that is computed by itself says nothing of packs."""
    return {name: value for name, value in asdict(stack).items() if name != "pack" or value}


def unpack(folder: Path) -> None:
    """Let the stacks of a trial be computed by themselves from now on."""
    known = read(folder)
    if any(stack.pack for stack in known):
        write(folder, [replace(stack, pack=()) for stack in known])
