"""What an optimiser remembers, carried through a change of a layer's form.

With W = W₂ W₁ the gradients of the factors are G W₁ᵀ and W₂ᵀ G, so a mean of gradients M becomes M W₁ᵀ and W₂ᵀ M,
exactly. When factors W₂ W₁ become smaller ones W₂′ = W₂ B and W₁′ = A W₁, the same gives M₂ Aᵀ and Bᵀ M₁. A mean
of squares is carried with the squares of these matrices, as if the entries of the gradient were independent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rmt import Factors
from sweeps.stack import Replica


def carry(replica: Replica, layer: str, after: Factors, powers: dict[str, int]) -> None:
    """Replace each slot of a layer by what it is for the new factors.

    Args:
        replica: Still with the layer's old values.
        layer: Its name.
        after: The new factors.
        powers: Of each slot, the power of the gradient that it is a mean of.
    """
    old_left = replica.values.get(f"{layer}.left")
    for slot, power in powers.items():
        tensors = replica.slots[slot]
        if old_left is None:
            mean = tensors.pop(f"{layer}.weight").flatten(1)
            left, right = mean @ after.right.mT.pow(power), after.left.mT.pow(power) @ mean
        else:
            to_left, to_right = _changes(Factors(old_left, replica.values[f"{layer}.right"]), after)
            left = tensors[f"{layer}.left"] @ to_left.mT.pow(power)
            right = to_right.mT.pow(power) @ tensors[f"{layer}.right"]
        tensors[f"{layer}.left"], tensors[f"{layer}.right"] = left, right


def _changes(before: Factors, after: Factors) -> tuple[Tensor, Tensor]:
    """A (k′, k) and B (k, k′) with W₁′ = A W₁ and W₂′ = W₂ B: truncation stays in the old row and column space."""
    double = torch.float64
    from_right = torch.linalg.lstsq(before.right.mT.to(double), after.right.mT.to(double)).solution.mT
    from_left = torch.linalg.lstsq(before.left.to(double), after.left.to(double)).solution
    return from_right.to(after.left.dtype), from_left.to(after.left.dtype)
