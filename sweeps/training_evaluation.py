"""A stack on held-out examples: losses, rightness and signs of trouble, in large batches without gradient."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sweeps.stack import Stack
from sweeps.stack_program import Program
from sweeps.training_data import Examples

BATCH = 1024
"""Examples at a time: large enough for full speed, small enough for a stack's activations to stay in cache."""


@dataclass(frozen=True)
class Evaluation:
    """Numbers of each replicate.

    Attributes:
        losses: (replicate,) float64, mean cross-entropy.
        correct: (replicate, example) whether the class with the largest output is the right one.
        predicted: (replicate, class) how often each class is predicted.
        dead_units: (replicate,) hidden ReLU units that no example activates.
    """

    losses: Tensor
    correct: Tensor
    predicted: Tensor
    dead_units: Tensor

    def of(self, places: slice) -> Evaluation:
        """The numbers of some of the replicates."""
        return Evaluation(
            self.losses[places], self.correct[places], self.predicted[places], self.dead_units[places]
        )

    @property
    def accuracies(self) -> Tensor:
        """(replicate,) share of examples classified rightly."""
        return self.correct.double().mean(1)

    @property
    def never_predicted(self) -> Tensor:
        """(replicate,) number of classes that no example is given."""
        return (self.predicted == 0).sum(1)


@torch.no_grad()
def evaluate(stack: Stack, program: Program, batches: Iterable[Examples]) -> Evaluation:
    """Evaluate a stack on examples that come in batches, of `BATCH` or so."""
    losses: Tensor | None = None
    active: list[Tensor] | None = None
    correct, predicted = [], []
    for batch in batches:
        wanted = batch.labels
        logits, alive = program.read(stack.values, stack.buffers, batch.inputs)
        logs = torch.log_softmax(logits, -1)
        chosen = logs.gather(-1, wanted.view(1, -1, 1).expand(len(logits), -1, 1))
        sums = chosen.sum((1, 2), dtype=torch.float64)
        losses = -sums if losses is None else losses - sums
        active = list(alive) if active is None else [a | b for a, b in zip(active, alive, strict=True)]
        answers = logits.argmax(-1)
        correct.append(answers == wanted)
        predicted.append(torch.nn.functional.one_hot(answers, logits.shape[-1]).sum(1))
    assert losses is not None  # noqa: S101 - no part of a split is empty
    assert active is not None  # noqa: S101
    dead = sum(((~units).sum(1) for units in active), torch.zeros_like(losses, dtype=torch.int64))
    right = torch.cat(correct, 1)
    return Evaluation(losses / right.shape[1], right, torch.stack(predicted).sum(0), dead)
