"""A layer's matrix: what it is called, dense or as a pair of factors, and how many parameters it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmt.errors import InvalidWeight

NUMPY_TYPES = torch.float16, torch.float32, torch.float64


class Factors(NamedTuple):
    """The matrix W = `left` @ `right` of rank at most k.

    Attributes:
        left: (rows, k), or (replicate, rows, k) for a stack.
        right: (k, cols), or (replicate, k, cols) for a stack.
    """

    left: Tensor
    right: Tensor

    def compose(self) -> Tensor:
        """The product, dense."""
        return self.left @ self.right

    @property
    def rank(self) -> int:
        """k, the inner dimension."""
        return self.left.shape[-1]


Weight: TypeAlias = Tensor | Factors


@dataclass(frozen=True)
class Layer:
    """One matrix of a network.

    Attributes:
        name: Such as "features.3" or "1"; overrides match it.
        kind: "linear", "conv1d", "conv2d", "embedding" or "projection"; overrides match it too.
        rows, cols: Its shape; a convolution is out × in·k·k.
        head: Whether it is the last layer.
        factorable: Whether it can be replaced by two layers.
    """

    name: str
    kind: str
    rows: int
    cols: int
    head: bool = False
    factorable: bool = True

    @property
    def smaller(self) -> int:
        """p."""
        return min(self.rows, self.cols)


def shape_of(weight: Weight) -> tuple[int, int]:
    """(rows, cols) of the matrix that `weight` stands for; a stack's leading dimension is left out."""
    if isinstance(weight, Factors):
        return weight.left.shape[-2], weight.right.shape[-1]
    return weight.shape[-2], weight.shape[-1]


def dense(weight: Weight) -> Tensor:
    """The matrix itself."""
    return weight.compose() if isinstance(weight, Factors) else weight


def parameters(weight: Weight) -> int:
    """Parameters of one matrix: its non-zero entries if dense, all entries of both factors if factored.

    A dense matrix of low rank counts in full: nothing is saved until it is factored. Entries that a mask has set
    to zero do not count.
    """
    if isinstance(weight, Factors):
        return weight.left.numel() + weight.right.numel()
    return int(torch.count_nonzero(weight))


def saves(rank: int, rows: int, cols: int) -> bool:
    """Whether factors of this rank have fewer parameters than the dense matrix: k (rows + cols) < rows cols."""
    return rank * (rows + cols) < rows * cols


def pad_factors(factors: Sequence[Factors]) -> Factors:
    """Stack the factors of several replicates, zero padded to the largest rank.

    Zero columns on the left with zero rows on the right are a fixed point of SGD with momentum, Adam, L1 and L2:
    training leaves the padding at zero and each replicate at its own rank.

    Returns:
        `left` (replicate, rows, K) and `right` (replicate, K, cols), K the largest rank.

    Raises:
        InvalidWeight: Nothing to stack, or the outer shapes differ.
    """
    shapes = {shape_of(pair) for pair in factors}
    if len(shapes) != 1:
        raise InvalidWeight(f"factors of one shape can be stacked; these have {sorted(shapes) or 'none'}")
    widest = max(pair.rank for pair in factors)
    left = [torch.nn.functional.pad(pair.left, (0, widest - pair.rank)) for pair in factors]
    right = [torch.nn.functional.pad(pair.right, (0, 0, 0, widest - pair.rank)) for pair in factors]
    return Factors(torch.stack(left), torch.stack(right))


def check_form(weight: Weight) -> None:
    """Refuse what is no real matrix, pair of factors, or stack of matrices.

    Raises:
        InvalidWeight: Not two-dimensional (or a stack of such), complex, integer or empty; a stack of factors.
    """
    for what, part in parts_of(weight):
        if part.is_complex() or not part.is_floating_point():
            raise InvalidWeight(f"{what} is of type {part.dtype}; a real floating-point matrix is needed")
        if part.ndim not in (2, 3) or 0 in part.shape:
            shape = tuple(part.shape)
            raise InvalidWeight(f"{what} has shape {shape}; (rows, cols) or (replicate, rows, cols) is needed")
        if part.ndim == 3 and isinstance(weight, Factors):
            raise InvalidWeight("factors are taken one replicate at a time: cut off the padding of each first")


def check_finite(weight: Weight) -> None:
    """Refuse NaN and infinite entries.

    Raises:
        InvalidWeight: There are some; the message says how many and where the first one is.
    """
    reason = why_unusable(weight)
    if reason is not None:
        raise InvalidWeight(reason)


def why_unusable(weight: Weight) -> str | None:
    """How many NaN or infinite entries there are, and where the first one is; None where there are none."""
    for what, part in parts_of(weight):
        if is_finite(part):
            continue
        wrong = ~torch.isfinite(part.detach())
        if bool(wrong.any()):
            place = tuple(int(index) for index in wrong.nonzero()[0])
            return f"{what} has {int(wrong.sum())} NaN or infinite entries, the first at {place}"
    return None


def is_finite(part: Tensor) -> bool:
    """Whether no entry is NaN or infinite: they would reach the sum, which is several times cheaper to look at."""
    if part.device.type != "cpu":
        return bool(torch.isfinite(part.detach()).all())
    entries = on_host(part)
    with np.errstate(over="ignore", invalid="ignore"):
        total = entries.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(entries).all())


def on_host(part: Tensor) -> NDArray[np.floating]:
    """numpy's view of a tensor on the CPU; a copy in single precision of a type that numpy has not.

    What goes before and after a solver is done by numpy, in the calling thread: torch's own threads stay awake for
    milliseconds after each operation, and those of the solver's library then share the cores with them.
    """
    plain = part.detach()
    host: NDArray[np.floating] = (plain if plain.dtype in NUMPY_TYPES else plain.float()).numpy()
    return host


def parts_of(weight: Weight) -> tuple[tuple[str, Tensor], ...]:
    """The tensors that a weight is made of, each with what it is called in messages."""
    if isinstance(weight, Factors):
        return (("left factor", weight.left), ("right factor", weight.right))
    return (("weight", weight),)
