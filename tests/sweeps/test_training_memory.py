"""The estimate is that of the tensors that are made, and what does not fit is refused in words."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from sweeps.errors import SpecError
from sweeps.training_memory import Need, memory_of, most_at_once, need_of, stack_bytes
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


def test_a_stack_has_as_many_members_as_the_memory_holds() -> None:
    total = memory_of("cpu")
    need = Need(kept=total // 100, passing=total // 9, stacks=True)
    threads = os.cpu_count() or 1
    # 0.8 of the whole for ten: a tenth of it stays, and six ninths pass.
    assert most_at_once(need, 10, threads=threads, device="cpu") == 6
    assert most_at_once(need, 4, threads=threads, device="cpu") == 4
    assert most_at_once(replace(need, stacks=False), 10, threads=threads, device="cpu") == 10
    assert need.of(10, at_once=6) == 10 * need.kept + 6 * need.passing
    with pytest.raises(
        SpecError, match=r"a trial of 95 replicates needs .* GiB even one replicate at a time, cpu"
    ):
        most_at_once(need, 95, threads=threads, device="cpu")


def test_one_by_one_only_one_computes() -> None:
    batch_norm = {"kind": "resnet18", "width": 8, "normalisation": "batch"}
    need = need_of(trial(model=batch_norm, prune={"rule": "none"}), (3, 32, 32), 10)
    assert not need.stacks
    assert need.of(8, at_once=8) == 8 * need.kept + need.passing
