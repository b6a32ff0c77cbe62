"""How much memory a stack takes, before it takes it."""

from __future__ import annotations

from typing import Any

import psutil
import torch
from torch import Tensor, nn

from sweeps import models
from sweeps.errors import Problem, SpecError
from sweeps.models import Shape
from sweeps.training_evaluation import BATCH
from sweeps.training_step import Stepper
from sweeps.trial_spec import TrialSpec


def stack_bytes(
    spec: TrialSpec, shape: Shape, classes: int, replicates: int, *, dtype: torch.dtype = torch.float32
) -> int:
    """Bytes of a stack: weights, gradients, what the optimiser keeps, and the activations of a batch.

    An estimate from above: gradients of perceptrons come in pieces and take less. The examples are not in it.
    """
    with torch.device("meta"):
        module = models.build(spec.model, shape, classes)
        activations = _activations(module, shape)
    weights = sum(parameter.numel() for parameter in module.parameters())
    copies = 2 + len(Stepper.of(spec.training).optimiser.slots)
    examples = max(2 * spec.training.batch_size, BATCH)  # with the way back, or an evaluation
    return replicates * (copies * weights + examples * activations) * dtype.itemsize


def require_memory(needed: int, device: str, replicates: int) -> None:
    """Refuse a stack that does not fit into the memory that is free.

    Raises:
        SpecError: Says how much it needs, how much there is, and what to change.
    """
    if torch.device(device).type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
    if needed > free:
        message = (
            f"a stack of {replicates} replicates needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free "
            f"on {device}; allowed: {max(free // (needed // replicates), 0)} replicates a stack, a smaller model "
            "or a smaller training.batch_size"
        )
        raise SpecError([Problem("model", message)])


def _activations(module: nn.Module, shape: Shape) -> int:
    """Numbers that all layers together put out for one example."""
    count = 0

    def note(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
        nonlocal count
        count += outputs[0].numel() if isinstance(outputs, Tensor) else 0

    leaves = [part for part in module.modules() if not any(part.children())]
    handles = [part.register_forward_hook(note) for part in leaves]
    module.eval()(torch.empty(2, *shape))
    for handle in handles:
        handle.remove()
    return count
