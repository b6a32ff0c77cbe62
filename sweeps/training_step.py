"""One optimisation step of a stack: gradients, penalty, clipping, update."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sweeps.optimisers import OPTIMISERS, SCHEDULES, Optimiser
from sweeps.stack import Replica, Stack, Tensors
from sweeps.stack_program import Gradient, Program
from sweeps.trial_spec import Training

Precision: TypeAlias = Literal["float32", "tf32", "bf16"]


class Stepped(NamedTuple):
    """What a step found before its update.

    Attributes:
        losses: (replicate,) mean cross-entropy of the batch.
        hits: (replicate,) examples classified rightly.
        gradient_norms: (replicate,) before clipping, penalty included; None unless wanted.
    """

    losses: Tensor
    hits: Tensor
    gradient_norms: Tensor | None


@dataclass(frozen=True)
class Stepper:
    """Optimiser, schedule and penalties of a spec's `training`."""

    training: Training
    optimiser: Optimiser

    @classmethod
    def of(cls, training: Training) -> Stepper:
        """As the spec says."""
        choice = training.optimiser
        return cls(training, OPTIMISERS[choice.kind].function(**choice.options))

    def rate(self, epochs_done: float) -> float:
        """Learning rate when so many epochs are done."""
        schedule = self.training.schedule
        factor = SCHEDULES[schedule.kind].function(epochs_done, self.training.epochs, **schedule.options)
        return self.optimiser.lr * factor

    def open_slots(self, replica: Replica) -> None:
        """Give a replicate the optimiser's tensors, all zero."""
        for slot in self.optimiser.slots:
            replica.slots[slot] = {name: torch.zeros_like(value) for name, value in replica.values.items()}

    def step(
        self,
        stack: Stack,
        program: Program,
        inputs: Tensor,
        labels: Tensor,
        *,
        rate: float,
        number: int,
        with_norms: bool = False,
    ) -> Stepped:
        """Update a stack on one batch, all its replicates alike: see the function `step`."""
        parts = [Part(slice(0, len(stack.members)), self, rate)]
        return step(stack, program, inputs, labels, parts, number=number, with_norms=with_norms)

    def complete(self, stack: Stack, gradient: Gradient) -> Gradient:
        """Add the penalty's gradient, and leave out what is masked or frozen."""
        name, places, values = gradient
        value = stack.values[name][places]
        values = values.to(value.dtype)  # autocast gives gradients in its own type
        penalise(values, value, self.training.l1, self.training.l2)
        if (mask := stack.masks.get(name)) is not None:
            values.mul_(mask[places])
        for place in stack.frozen & set(range(len(stack.members))[places]):
            values[place - (places.start or 0)] = 0
        return Gradient(name, places, values)

    def clip(self, gradient: Gradient, gradient_norms: Tensor) -> None:
        """Scale each replicate's gradient so that its norm over all parameters is at most `clip_norm`."""
        if (limit := self.training.clip_norm) is None:
            return
        scale = (limit / gradient_norms[gradient.places]).clamp(max=1.0)
        gradient.values.mul_(scale.view(-1, *[1] * (gradient.values.ndim - 1)))

    def update(self, stack: Stack, gradient: Gradient, rate: float, number: int) -> None:
        """Change a parameter of some replicates; `number` counts steps from 1 over the whole training."""
        name, places, values = gradient
        slots = [stack.slots[slot][name][places] for slot in self.optimiser.slots]
        self.optimiser.update(stack.values[name][places], values, slots, rate=rate, step=number)


class Part(NamedTuple):
    """Replicates of a stack that are updated alike.

    Attributes:
        places: Of the replicates, from a first to a last.
        stepper: Of their configuration.
        rate: Learning rate.
    """

    places: slice
    stepper: Stepper
    rate: float


def alike(steppers: Iterable[tuple[slice, Stepper]], members: int) -> list[tuple[slice, Stepper]]:
    """Neighbours that are updated alike as one; places that are nobody's go with those before them.

    Args:
        steppers: Of places, in their order.
        members: Of the whole stack.
    """
    runs = [list(run) for _, run in itertools.groupby(steppers, lambda one: one[1].training)]
    starts = [0, *(run[0][0].start for run in runs[1:]), members]
    return [
        (slice(start, end), run[0][1]) for run, (start, end) in zip(runs, itertools.pairwise(starts), strict=True)
    ]


def step(
    stack: Stack,
    program: Program,
    inputs: Tensor,
    labels: Tensor,
    parts: Sequence[Part],
    *,
    number: int,
    with_norms: bool = False,
) -> Stepped:
    """Update a stack on one batch.

    Args:
        stack: Changed in place.
        program: Computes it.
        inputs: (example, channel, height, width), shared by all replicates.
        labels: (example,)
        parts: All places of the stack, in their order; precision and label smoothing are the same in all.
        number: Of the step, from 1 over the whole training.
        with_norms: Whether the gradients' norms are wanted.
    """
    training = parts[0].stepper.training
    with in_precision(training.precision, inputs.device.type):
        found = program.step(stack.values, stack.buffers, inputs, labels, training.label_smoothing)
        pieces: Iterable[tuple[Part, Gradient]] = (
            (part, part.stepper.complete(stack, piece))
            for gradient in found.gradients
            for part, piece in _by_part(gradient, parts, len(stack.members))
        )
        gradient_norms = None
        if with_norms or any(part.stepper.training.clip_norm is not None for part in parts):
            pieces = list(pieces)
            gradient_norms = norms_of(piece for _, piece in pieces)
            for part, piece in pieces:
                part.stepper.clip(piece, gradient_norms)
        for part, piece in pieces:
            part.stepper.update(stack, piece, part.rate, number)
    return Stepped(found.losses, found.hits, gradient_norms)


def _by_part(gradient: Gradient, parts: Sequence[Part], members: int) -> Iterator[tuple[Part, Gradient]]:
    """A gradient, cut where one part ends and another begins."""
    if len(parts) == 1:
        yield parts[0], gradient
        return
    start, end, _ = gradient.places.indices(members)
    for part in parts:
        first, last = max(start, part.places.start), min(end, part.places.stop)
        if first < last:
            its = gradient.values[first - start : last - start]
            yield part, Gradient(gradient.name, slice(first, last), its)


@contextmanager
def in_precision(precision: Precision, device: str) -> Iterator[None]:
    """Compute products in single precision, in TF32 (on GPUs that have it), or in bfloat16 by autocast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def deterministic(is_wanted: bool) -> Iterator[None]:
    """Refuse operations that differ from run to run, and choose those that do not; afterwards all is as before."""
    if not is_wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it when a GPU is first used
    before, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


def penalise(gradient: Tensor, value: Tensor, l1: float, l2: float) -> None:
    """Add the gradient of l1 Σ|θ| + l2 Σθ² (SCIENCE 1.12), zero at θ = 0."""
    if l2:
        gradient.add_(value, alpha=2 * l2)
    if l1:
        gradient.add_(value.sign(), alpha=l1)


def norms(tensors: Tensors) -> Tensor:
    """(replicate,) Euclidean norm of all parameters of each replicate."""
    return norms_of([Gradient(name, slice(None), tensor) for name, tensor in tensors.items()])


def norms_of(gradients: Iterable[Gradient]) -> Tensor:
    """(replicate,) Euclidean norm of all gradients of each replicate."""
    each: dict[str, list[Tensor]] = {}
    for name, _, values in gradients:
        each.setdefault(name, []).append(torch.linalg.vector_norm(values.flatten(1), dim=1))
    return torch.linalg.vector_norm(torch.stack([torch.cat(some) for _, some in sorted(each.items())]), dim=0)


def all_finite(tensors: Tensors, replicates: int) -> Tensor:
    """(replicate,) whether all numbers of each replicate are finite; on the CPU."""
    found = torch.ones(replicates, dtype=torch.bool)
    for tensor in tensors.values():
        found &= torch.isfinite(tensor.reshape(replicates, -1)).all(1).cpu()
    return found


def penalties(values: Tensors, l1: float, l2: float) -> Tensor:
    """(replicate,) l1 Σ|θ| + l2 Σθ², biases included."""
    total = torch.zeros(len(next(iter(values.values()))), dtype=torch.float64)
    for _, value in sorted(values.items()):
        flat = value.flatten(1)
        total += l1 * torch.linalg.vector_norm(flat, 1, dim=1).cpu().double()
        total += l2 * torch.linalg.vector_norm(flat, 2, dim=1).cpu().double().square()
    return total


def non_zeros(values: Tensors) -> Tensor:
    """(replicate,) parameters that are not zero; padding is zero."""
    counts = [torch.count_nonzero(value.flatten(1), dim=1) for value in values.values()]
    return torch.stack(counts).sum(0)
