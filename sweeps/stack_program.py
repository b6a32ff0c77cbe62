"""What computes a stack: the contract, and the loss that all programs share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sweeps.stack import Tensors

CHUNK_BYTES = 1 << 20
"""Gradients come in pieces of about this size: a piece is still in cache when the update uses it (half the time of
an update at width 1000, where a stack's weights are larger than any cache)."""


class Gradient(NamedTuple):
    """The gradient of one parameter for some replicates.

    Attributes:
        name: The parameter's.
        places: Of the replicates, in the leading dimension of the stack.
        values: Its own memory; may be overwritten.
    """

    name: str
    places: slice
    values: Tensor


class Step(NamedTuple):
    """One batch's result: replicates side by side, nothing summed over them.

    Attributes:
        losses: (replicate,) mean cross-entropy of the batch.
        hits: (replicate,) number of examples classified rightly.
        gradients: Of each replicate's own loss, in pieces that are computed when asked for. A parameter may be
            changed as soon as its gradient has come, so they can be gone through once.
    """

    losses: Tensor
    hits: Tensor
    gradients: Iterable[Gradient]


class Reading(NamedTuple):
    """Outputs without gradient.

    Attributes:
        logits: (replicate, example, class).
        active: For each hidden ReLU, (replicate, unit): whether any example activates the unit.
    """

    logits: Tensor
    active: Sequence[Tensor]


class Program(Protocol):
    """Computes losses and gradients of a stack."""

    def step(self, values: Tensors, buffers: Tensors, inputs: Tensor, labels: Tensor, smoothing: float) -> Step:
        """Losses and gradients on one batch, the same for all replicates; buffers are brought up to date."""
        ...

    def read(self, values: Tensors, buffers: Tensors, inputs: Tensor) -> Reading:
        """Outputs in evaluation mode."""
        ...


def chunks(value: Tensor) -> Iterator[slice]:
    """Places of a stacked parameter, in pieces of about CHUNK_BYTES."""
    each = value[0].numel() * value.element_size()
    width = max(1, CHUNK_BYTES // max(1, each))
    for start in range(0, len(value), width):
        yield slice(start, min(start + width, len(value)))


def targets(labels: Tensor, classes: int, smoothing: float, dtype: torch.dtype) -> Tensor:
    """(class, example) target probabilities: 1 − smoothing on the label, and smoothing spread over all classes."""
    rows = torch.full((classes, len(labels)), smoothing / classes, dtype=dtype, device=labels.device)
    return rows.scatter_(0, labels.unsqueeze(0), 1.0 - smoothing + smoothing / classes)
