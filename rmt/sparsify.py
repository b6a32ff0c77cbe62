"""Zeros inside what pruning keeps: in the entries of a weight, or in its singular vectors."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rmt.errors import InvalidOption
from rmt.matrices import Weight, dense
from rmt.noise import NoiseFit
from rmt.rebuild import singular_vectors
from rmt.spectrum import Spectrum, spectrum

FLOOR = 1 / 750
"""Share of θ that every direction's threshold has at least."""
STEEPNESS = 30
"""Power of 1 − s/S₊: only directions far below the edge get more than the floor."""


def sparsify_entries(weight: Float[Tensor, "rows cols"], threshold: float) -> Float[Tensor, "rows cols"]:
    """Zero all entries of size below `threshold`.

    Raises:
        InvalidOption: A negative threshold.
    """
    if threshold < 0:
        raise InvalidOption(f"threshold is {threshold}; it must be at least 0")
    return torch.where(weight.abs() < threshold, 0.0, weight)


def entry_threshold(epoch: int, *, first: float = 0.001, last: float = 0.02, epochs: int = 20) -> float:
    """Threshold that grows linearly from `first` to `last` in `epochs` epochs and stays there.

    Source: the public notebook of arXiv:2310.03165, cell 19, which applies it every five epochs.
    """
    return min(first + epoch * (last - first) / epochs, last)


def sparsify_vectors(weight: Weight, fit: NoiseFit, theta: float) -> Float[Tensor, "rows cols"]:
    """Zero small entries of singular vectors, most of all of directions far below the threshold, and recompose.

    Entries of u_i and v_i of size below T_i = θ · max(1/750, (1 − s_i/S₊)₊³⁰) become zero.

    Args:
        weight: A matrix, or factors.
        fit: Its noise fit, for S₊.
        theta: θ, at least 0.

    Source: the successor of arXiv:2310.03165 (2503.01922) and its code.
    """
    if theta < 0:
        raise InvalidOption(f"theta is {theta}; it must be at least 0")
    values = spectrum(weight)
    depth = _depth(values, fit)
    threshold = theta * torch.clamp(depth**STEEPNESS, min=FLOOR)
    return _recompose(values, threshold, threshold)


def sparsify_vectors_below(
    weight: Weight, fit: NoiseFit, z: float, *, power: float = 3.0
) -> Float[Tensor, "rows cols"]:
    """Zero entries of singular vectors that are small for a random unit vector, below the threshold only.

    Entries of u_i of size below z (1 − s_i/S₊)₊^power / √rows become zero, and those of v_i with √cols.

    Source: the successor's protocol, with z from 0.3 to 1 and power 3, which reports no gain from it.
    """
    if z < 0:
        raise InvalidOption(f"z is {z}; it must be at least 0")
    values = spectrum(weight)
    effective = z * _depth(values, fit) ** power
    return _recompose(values, effective / values.rows**0.5, effective / values.cols**0.5)


def _depth(values: Spectrum, fit: NoiseFit) -> Float64[Tensor, " p"]:
    """(1 − s/S₊)₊: 0 above the threshold, 1 at zero."""
    return (1 - values.singular_values / fit.singular_threshold).clamp(min=0)


def _recompose(values: Spectrum, of_left: Tensor, of_right: Tensor) -> Tensor:
    matrix = dense(values.weight)
    count = values.nonzero
    left, right = singular_vectors(values, torch.arange(count))
    of_left, of_right = of_left[:count].to(left.device), of_right[:count].to(left.device)
    left = torch.where(left.abs() < of_left, 0.0, left)
    right = torch.where(right.abs() < of_right, 0.0, right)
    scale = values.singular_values[:count].to(left.device)
    return ((left * scale) @ right.mT).to(matrix.dtype)
