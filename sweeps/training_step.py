"""One optimisation step of a stack: gradients, penalty, clipping, update."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sweeps.optimisers import OPTIMISERS, SCHEDULES, Optimiser
from sweeps.stack import Replica, Stack, Tensors
from sweeps.stack_program import Program, Step
from sweeps.trial_spec import Training


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

    def gradients(self, stack: Stack, program: Program, inputs: Tensor, labels: Tensor) -> Step:
        """Losses, and gradients as they enter the update: with the penalty's, without what is masked, clipped.

        Args:
            stack: Its values are read, its buffers brought up to date.
            program: Computes the stack.
            inputs: (example, channel, height, width), shared by all replicates.
            labels: (example,)
        """
        training = self.training
        found = program.step(stack.values, stack.buffers, inputs, labels, training.label_smoothing)
        for name, gradient in found.gradients.items():
            penalise(gradient, stack.values[name], training.l1, training.l2)
            if (mask := stack.masks.get(name)) is not None:
                gradient.mul_(mask)
            for place in stack.frozen:
                gradient[place] = 0
        if training.clip_norm is not None:
            _clip(found.gradients, training.clip_norm)
        return found

    def update(self, stack: Stack, gradients: Tensors, *, rate: float, number: int) -> None:
        """Apply the gradients; they may be overwritten."""
        for name, gradient in gradients.items():
            slots = [stack.slots[slot][name] for slot in self.optimiser.slots]
            self.optimiser.update(stack.values[name], gradient, slots, rate=rate, step=number)


def penalise(gradient: Tensor, value: Tensor, l1: float, l2: float) -> None:
    """Add the gradient of l1 Σ|θ| + l2 Σθ² (SCIENCE 1.12), zero at θ = 0."""
    if l2:
        gradient.add_(value, alpha=2 * l2)
    if l1:
        gradient.add_(value.sign(), alpha=l1)


def norms(tensors: Tensors) -> Tensor:
    """(replicate,) Euclidean norm of all parameters of each replicate."""
    each = [torch.linalg.vector_norm(tensor.flatten(1), dim=1) for _, tensor in _in_order(tensors)]
    return torch.linalg.vector_norm(torch.stack(each), dim=0)


def penalties(values: Tensors, l1: float, l2: float) -> Tensor:
    """(replicate,) l1 Σ|θ| + l2 Σθ², biases included."""
    total = torch.zeros(len(next(iter(values.values()))), dtype=torch.float64)
    for _, value in _in_order(values):
        flat = value.flatten(1)
        total += l1 * torch.linalg.vector_norm(flat, 1, dim=1).cpu().double()
        total += l2 * torch.linalg.vector_norm(flat, 2, dim=1).cpu().double().square()
    return total


def _in_order(tensors: Tensors) -> list[tuple[str, Tensor]]:
    """By name: a sum does not depend on the order in which layers were factored or read from a file."""
    return sorted(tensors.items())


def _clip(gradients: Tensors, limit: float) -> None:
    """Scale each replicate's gradient to a norm of at most `limit`."""
    scale = (limit / norms(gradients)).clamp(max=1.0)
    for gradient in gradients.values():
        gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))
