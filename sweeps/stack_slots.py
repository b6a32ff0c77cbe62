"""What an optimiser remembers, carried through a change of a layer's form.

A mean of gradients becomes one of the factors' gradients exactly (`rmt.project_momentum`): M W₁ᵀ and W₂ᵀ M. A mean
of squares is carried with the squares of the same matrices, as if the entries of the gradient were independent: an
approximation, but one of the right size, so that Adam goes on at its pace.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rmt import Factors, project_momentum
from rmt.matrices import Weight
from sweeps.stack import Replica


def carry(replica: Replica, layer: str, before: Weight, after: Factors, powers: Mapping[str, int]) -> None:
    """Replace each slot of a layer by what it is for the new factors.

    Args:
        replica: Its slots are changed.
        layer: The layer's name.
        before: The layer's matrix as it was.
        after: The new factors.
        powers: Of each slot, the power of the gradient that it is a mean of.
    """
    if isinstance(before, Factors):
        unit = torch.eye(before.rank, dtype=after.left.dtype, device=after.left.device)
        to_left, to_right = project_momentum(Factors(unit, unit), before, after)
    else:
        to_left, to_right = after.right.mT, after.left.mT
    for slot, power in powers.items():
        tensors = replica.slots[slot]
        if isinstance(before, Factors):
            left, right = tensors[f"{layer}.left"], tensors[f"{layer}.right"].flatten(1)
        else:
            left = right = tensors.pop(f"{layer}.weight").flatten(1)
        tensors[f"{layer}.left"] = left @ to_left.pow(power)
        tensors[f"{layer}.right"] = to_right.pow(power) @ right
