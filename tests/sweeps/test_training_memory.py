"""The estimate is that of the tensors that are made, and what does not fit is refused in words."""

from __future__ import annotations

import pytest
import torch

from sweeps.errors import SpecError
from sweeps.training_memory import stack_bytes
from tests.sweeps.small_trials import digits, training, trial


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_the_estimate_is_what_a_stack_holds(kind: str) -> None:
    spec = trial(training__optimiser=kind, training__batch_size=1)
    run = training(spec, [0, 1, 2], torch.float32)
    stack = run._stacks[0]
    held = sum(value.nbytes for part in (stack.values, *stack.slots.values()) for value in part.values())
    gradients = sum(value.nbytes for value in stack.values.values())
    layers = 64 + 2 * (96 + 64) + 10
    activations = 3 * 1024 * layers * 4
    assert stack_bytes(spec, digits().shape, 10, 3) == held + gradients + activations


def test_a_stack_larger_than_memory_is_refused() -> None:
    spec = trial(model={"kind": "mlp", "widths": [10**6, 10**6]}, prune={"rule": "none"})
    with pytest.raises(
        SpecError, match=r"a stack of 2 replicates needs \d+\.\d GiB, .* are free on cpu; allowed: 0"
    ):
        training(spec, [0, 1])
