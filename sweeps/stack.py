"""Replicates as one stack: tensors have a leading replicate dimension, and one batched computation does a step.

Weights are (replicate, out, in). After pruning, ranks differ: a layer `NAME` kept as factors has `NAME.left`
(replicate, out, K) and `NAME.right` (replicate, K, in …) instead of `NAME.weight`, K the widest rank of the stack,
the rest zero. Zero columns on the left with zero rows on the right are a fixed point of every update, so padding
stays exactly zero. Replicates of one stack have the same structure: the same layers factored, the same masked.

A replicate that diverged keeps its place, frozen at zero: taking it out would change the shapes of every batched
product, and with them the last bits of the others. Only the rank it would have had after the next cut is lost:
where that would have been the widest by a RANK_MULTIPLE, the others are equal but for rounding from there on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

Tensors: TypeAlias = dict[str, Tensor]

RANK_DIMENSION = {"left": 1, "right": 0}
"""Of one replicate's factors: (out, K), and (K, in) or (K, in, height, width)."""
RANK_MULTIPLE = 16
"""Widths of padded factors are multiples of this: whole vector registers, and fewer different shapes."""


@dataclass
class Replica:
    """One replicate's tensors, factors at their own rank.

    Attributes:
        values: Parameters by name.
        slots: What the optimiser keeps, by slot and parameter.
        masks: Of the masked parameters: false where a weight has been removed for good.
        buffers: Running statistics by name.
    """

    values: Tensors
    slots: dict[str, Tensors] = field(default_factory=dict)
    masks: Tensors = field(default_factory=dict)
    buffers: Tensors = field(default_factory=dict)

    @property
    def tensors(self) -> Tensors:
        """Parameters and running statistics by name, as the module's `state_dict` has them."""
        return self.values | self.buffers

    @property
    def structure(self) -> tuple[str, ...]:
        """What has to be equal for replicates to be stacked."""
        return (*sorted(self.values), *sorted(f"{name}:masked" for name in self.masks))

    def rank(self, layer: str) -> int | None:
        """Width of a layer's factors; None when it is dense."""
        left = self.values.get(f"{layer}.left")
        return None if left is None else left.shape[-1]

    @property
    def parameters(self) -> int:
        """Parameters left, biases included: all entries but the masked ones."""
        masked = sum(int((~mask).sum()) for mask in self.masks.values())
        return sum(value.numel() for value in self.values.values()) - masked


@dataclass
class Stack:
    """Replicates of one structure, stacked.

    Attributes:
        members: Which replicates, in the order of the leading dimension.
        ranks: For each member, the ranks of the factored layers by name.
        frozen: Places of the members that have diverged.
    """

    members: tuple[int, ...]
    values: Tensors
    slots: dict[str, Tensors]
    masks: Tensors
    buffers: Tensors
    ranks: list[dict[str, int]]
    frozen: set[int] = field(default_factory=set)

    @property
    def structure(self) -> tuple[str, ...]:
        """What has to be equal for stacks to be computed as one."""
        return (*sorted(self.values), *sorted(f"{name}:masked" for name in self.masks))

    @classmethod
    def join(cls, members: Sequence[int], replicas: Sequence[Replica]) -> Stack:
        """Stack replicas of one structure, factors padded with zeros."""
        first = replicas[0]
        factored = [name.removesuffix(".left") for name in first.values if name.endswith(".left")]
        return cls(
            tuple(members),
            _join([replica.values for replica in replicas]),
            {slot: _join([replica.slots[slot] for replica in replicas]) for slot in first.slots},
            _join([replica.masks for replica in replicas]),
            _join([replica.buffers for replica in replicas]),
            [{layer: replica.rank(layer) or 0 for layer in factored} for replica in replicas],
        )

    def take(self, place: int) -> Replica:
        """The replicate at a place of the leading dimension, its own copy, without padding."""
        ranks = self.ranks[place]

        def own(tensors: Tensors) -> Tensors:
            return {name: _cut(name, tensor[place], ranks).clone() for name, tensor in tensors.items()}

        return Replica(
            own(self.values),
            {slot: own(tensors) for slot, tensors in self.slots.items()},
            own(self.masks),
            own(self.buffers),
        )

    def freeze(self, place: int) -> None:
        """Set a diverged replicate to zero, for good."""
        self.frozen.add(place)
        for tensors in (self.values, *self.slots.values(), self.buffers):
            for tensor in tensors.values():
                tensor[place] = 0

    def parameters(self, place: int) -> int:
        """Parameters that a member has, biases included: neither masked entries nor padding."""
        total = sum(_cut(name, value[place], self.ranks[place]).numel() for name, value in self.values.items())
        return total - sum(int((~mask[place]).sum()) for mask in self.masks.values())

    def padding(self, name: str) -> Iterable[Tensor]:
        """The parts of a parameter that are padding: zero, always."""
        layer, _, side = name.rpartition(".")
        for place, ranks in enumerate(self.ranks):
            if layer in ranks and side in RANK_DIMENSION:
                tensor = self.values[name][place]
                yield tensor[:, ranks[layer] :] if side == "left" else tensor[ranks[layer] :]


def joined(stacks: Sequence[Stack | int]) -> tuple[Stack, list[slice]]:
    """Stacks of one structure as one, of which each is a part from now on: what changes one changes the other.

    Args:
        stacks: At least one; a number stands for so many places that are empty, frozen at zero.

    Returns:
        The whole, and the places of each.
    """
    sizes = [one if isinstance(one, int) else len(one.members) for one in stacks]
    ends = list(itertools.accumulate(sizes))
    places = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    parts = [(one, its) for one, its in zip(stacks, places, strict=True) if isinstance(one, Stack)]
    first, total = parts[0][0], ends[-1]
    whole = Stack(
        tuple(range(total)),
        _share([(one.values, its) for one, its in parts], total),
        {slot: _share([(one.slots[slot], its) for one, its in parts], total) for slot in first.slots},
        _share([(one.masks, its) for one, its in parts], total),
        _share([(one.buffers, its) for one, its in parts], total),
        [ranks for one, size in zip(stacks, sizes, strict=True) for ranks in _ranks(one, size)],
        set(range(total)),
    )
    for one, its in parts:
        whole.frozen -= {its.start + place for place in range(len(one.members)) if place not in one.frozen}
    return whole, places


def _ranks(stack: Stack | int, size: int) -> list[dict[str, int]]:
    return stack.ranks if isinstance(stack, Stack) else [{} for _ in range(size)]


def _share(parts: Sequence[tuple[Tensors, slice]], total: int) -> Tensors:
    """One tensor a name, of which the parts' own tensors become views."""
    whole: Tensors = {}
    for name, pattern in parts[0][0].items():
        shape = [max(sizes) for sizes in zip(*(tensors[name].shape[1:] for tensors, _ in parts), strict=True)]
        if (dimension := RANK_DIMENSION.get(name.rpartition(".")[2])) is not None:
            shape[dimension] = _padded(shape[dimension], total)
        whole[name] = pattern.new_zeros(total, *shape)
        for tensors, places in parts:
            corner = (slice(0, size) for size in tensors[name].shape[1:])
            whole[name][(places, *corner)] = tensors[name]
            tensors[name] = whole[name][places]
    return whole


def _padded(width: int, members: int) -> int:
    """Width of factors in a stack of so many members, of which the widest has `width`."""
    return -(-width // RANK_MULTIPLE) * RANK_MULTIPLE if members > 1 else width


def regroup(replicas: dict[int, Replica], frozen: set[int], *, together: bool = True) -> list[Stack]:
    """Stacks by structure, in the order of their first member.

    Args:
        replicas: All replicates by number.
        frozen: Those that have diverged: they stand where most of the others are, at zero.
        together: Whether to stack at all; if not, each is a stack of one and frozen ones are left out.
    """
    groups: dict[object, list[int]] = {}
    for number, replica in replicas.items():
        if number not in frozen:
            groups.setdefault(replica.structure if together else number, []).append(number)
    if groups and together:
        largest = max(groups.values(), key=len)
        blank = _blank(replicas[largest[0]])
        replicas = replicas | dict.fromkeys(frozen, blank)
        largest.extend(frozen)
    stacks = []
    for members in sorted(sorted(group) for group in groups.values()):
        stack = Stack.join(members, [replicas[number] for number in members])
        stack.frozen = {place for place, number in enumerate(members) if number in frozen}
        stacks.append(stack)
    return stacks


def _blank(pattern: Replica) -> Replica:
    def zeros(tensors: Tensors) -> Tensors:
        return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}

    return Replica(
        zeros(pattern.values),
        {slot: zeros(tensors) for slot, tensors in pattern.slots.items()},
        zeros(pattern.masks),
        zeros(pattern.buffers),
    )


def _join(each: Sequence[Tensors]) -> Tensors:
    return {name: _pad_and_stack(name, [tensors[name] for tensors in each]) for name in each[0]}


def _pad_and_stack(name: str, tensors: Sequence[Tensor]) -> Tensor:
    side = name.rpartition(".")[2]
    if side not in RANK_DIMENSION:
        return torch.stack(list(tensors))
    dimension = RANK_DIMENSION[side]
    widest = max(tensor.shape[dimension] for tensor in tensors)
    shape = list(tensors[0].shape)
    shape[dimension] = _padded(widest, len(tensors))
    stacked = tensors[0].new_zeros(len(tensors), *shape)
    for place, tensor in enumerate(tensors):
        stacked[place].narrow(dimension, 0, tensor.shape[dimension]).copy_(tensor)
    return stacked


def _cut(name: str, tensor: Tensor, ranks: dict[str, int]) -> Tensor:
    layer, _, side = name.rpartition(".")
    if layer not in ranks or side not in RANK_DIMENSION:
        return tensor
    return tensor.narrow(RANK_DIMENSION[side], 0, ranks[layer])
