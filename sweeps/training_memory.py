"""How much memory a stack takes, before it takes it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from sweeps import models
from sweeps.errors import GpuMissing, Problem, SpecError
from sweeps.models import Shape
from sweeps.training_evaluation import BATCH
from sweeps.training_step import Stepper
from sweeps.trial_spec import TrialSpec

HEADROOM = 0.8
"""Share of the memory that stacks may plan with: examples, libraries and the system need the rest."""
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Need:
    """Bytes of one replicate.

    Attributes:
        kept: While its trial lives: weights, and what the optimiser keeps.
        passing: While its stack computes: gradients and the activations of a batch.
        stacks: Whether replicates of a stack compute at once; if not, only one at a time needs what passes.
    """

    kept: int
    passing: int
    stacks: bool

    def of(self, replicates: int, *, at_once: int) -> int:
        """Bytes of a trial's replicates, of which so many are in the stack that computes."""
        return replicates * self.kept + (at_once if self.stacks else 1) * self.passing


def need_of(
    spec: TrialSpec,
    shape: Shape,
    classes: int,
    *,
    dtype: torch.dtype = torch.float32,
    together: bool | None = None,
) -> Need:
    """What a replicate takes: an estimate from above, since gradients of perceptrons come in pieces and take less.

    The examples are not in it. `together` None counts with a stack wherever there can be one.
    """
    with models.rehearsal(spec.model, shape, classes) as module:
        activations = _activations(module, shape)
        stacks = models.stackable(module) if together is None else together
    weights = sum(parameter.numel() for parameter in module.parameters())
    copies = 1 + len(Stepper.of(spec.training).optimiser.slots)
    examples = max(2 * spec.training.batch_size, BATCH)  # with the way back, or an evaluation
    return Need(copies * weights * dtype.itemsize, (weights + examples * activations) * dtype.itemsize, stacks)


def stack_bytes(
    spec: TrialSpec,
    shape: Shape,
    classes: int,
    replicates: int,
    *,
    dtype: torch.dtype = torch.float32,
    together: bool | None = None,
) -> int:
    """Bytes of a trial that trains its replicates as one stack."""
    return need_of(spec, shape, classes, dtype=dtype, together=together).of(replicates, at_once=replicates)


def most_at_once(need: Need, replicates: int, *, threads: int, device: str) -> int:
    """How many replicates of a trial fit into one stack, beside the trials that run on the other processors.

    Raises:
        SpecError: The trial does not fit into the whole memory even with stacks of one.
    """
    total = memory_of(device)
    least = need.of(replicates, at_once=1)
    if least > total:
        message = (
            f"a trial of {replicates} replicates needs {least / 2**30:.1f} GiB even one replicate at a time, "
            f"{device} has {total / 2**30:.1f} GiB; allowed: fewer replicates, a smaller model or a smaller "
            "training.batch_size"
        )
        raise SpecError([Problem("model", message)])
    share = HEADROOM * total * (min(1.0, threads / (os.cpu_count() or 1)) if device == "cpu" else 1.0)
    room = (share - replicates * need.kept) / need.passing if need.stacks else replicates
    return max(1, min(replicates, int(room)))


def memory_of(device: str) -> int:
    """Bytes of a device's memory that this process may take, a container's limit and `take_share` included.

    Raises:
        GpuMissing: It is a GPU, and torch has none.
    """
    if torch.device(device).type == "cuda":
        require_gpu()
        return int(torch.cuda.mem_get_info(device)[1] * torch.cuda.get_per_process_memory_fraction(device))
    total = int(psutil.virtual_memory().total)
    try:
        return min(total, int(CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return total


def take_share(gpus: float) -> None:
    """Let this process take no more of a GPU's memory than its share of the GPU; its neighbours have theirs.

    Args:
        gpus: What the scheduler gave it. A whole GPU, several or none are not limited.
    """
    if 0 < gpus < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpus)


def require_gpu() -> None:
    """Refuse to train on a GPU where torch has none, whatever the scheduler offers.

    Raises:
        GpuMissing: Names the host and its torch.
    """
    if not torch.cuda.is_available():
        raise GpuMissing(
            f"resources.gpus: a GPU was given to this trial, and torch {torch.__version__} on "
            f"{socket.gethostname()} sees none; allowed: 0, or nodes that offer no GPUs but those torch can use"
        )


def require_memory(needed: int, device: str, replicates: int) -> None:
    """Refuse a stack that does not fit into the memory that is free.

    Raises:
        SpecError: Says how much it needs, how much there is, and what to change.
        GpuMissing: It is a GPU, and torch has none.
    """
    if torch.device(device).type == "cuda":
        require_gpu()
        own = memory_of(device) - torch.cuda.memory_reserved(device)
        free = min(torch.cuda.mem_get_info(device)[0], own)
    else:
        free = psutil.virtual_memory().available
    if needed > free:
        message = (
            f"a stack of {replicates} replicates needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free "
            f"on {device}; allowed: {max(free // (needed // replicates), 0)} replicates a stack "
            "(resources.stack), a smaller model or a smaller training.batch_size"
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
