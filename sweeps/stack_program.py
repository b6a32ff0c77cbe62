"""What computes a stack: the contract, and the loss that all programs share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sweeps.stack import Tensors


class Step(NamedTuple):
    """One batch's result: replicates side by side, nothing summed over them.

    Attributes:
        losses: (replicate,) mean cross-entropy of the batch.
        hits: (replicate,) number of examples classified rightly.
        gradients: By parameter, of each replicate's own loss.
    """

    losses: Tensor
    hits: Tensor
    gradients: Tensors


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


def targets(labels: Tensor, classes: int, smoothing: float, dtype: torch.dtype) -> Tensor:
    """(class, example) target probabilities: 1 − smoothing on the label, and smoothing spread over all classes."""
    rows = torch.full((classes, len(labels)), smoothing / classes, dtype=dtype, device=labels.device)
    return rows.scatter_(0, labels.unsqueeze(0), 1.0 - smoothing + smoothing / classes)
