"""Every registered optimiser takes torch's steps, leaves padding at zero, and keeps replicates apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from sweeps.optimisers import OPTIMISERS, Optimiser
from tests.sweeps.small_trials import finish, training, trial

Params = Iterable[Tensor]
Peer = Callable[[Params], torch.optim.Optimizer]
PEERS: dict[str, Peer] = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.02, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=0.001),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.001, weight_decay=0.01),
}
VARIANTS: list[tuple[str, dict[str, Any], Peer]] = [
    ("sgd", {"momentum": 0.0}, lambda params: torch.optim.SGD(params, lr=0.02)),
    ("sgd", {"nesterov": True}, lambda params: torch.optim.SGD(params, lr=0.02, momentum=0.9, nesterov=True)),
    (
        "adam",
        {"beta1": 0.5, "epsilon": 1e-3},
        lambda p: torch.optim.Adam(p, lr=0.001, betas=(0.5, 0.999), eps=1e-3),
    ),
]
CASES: list[tuple[str, dict[str, Any], Peer | None]] = [
    *((name, {}, PEERS.get(name)) for name in OPTIMISERS),
    *VARIANTS,
]


def steps(optimiser: Optimiser, value: Tensor, gradients: Iterable[Tensor]) -> Tensor:
    value = value.clone()
    slots = [torch.zeros_like(value) for _ in optimiser.slots]
    for number, gradient in enumerate(gradients, 1):
        optimiser.update(value, gradient.clone(), slots, rate=optimiser.lr, step=number)
    return value


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize(("name", "options", "peer"), CASES)
def test_it_takes_the_steps_of_torch(name: str, options: dict[str, Any], peer: Peer | None) -> None:
    assert peer is not None, f"say here what torch calls {name}"
    start, gradients = random(5, 4), random(20, 5, 4)
    parameter = start.clone().requires_grad_()
    optimiser = peer([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
    ours = steps(OPTIMISERS[name].function(**options), start, gradients)
    torch.testing.assert_close(ours, parameter.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_zero_is_a_fixed_point_and_places_do_not_mix(name: str) -> None:
    optimiser = OPTIMISERS[name].function()
    start, gradients = random(3, 5, 4), random(20, 3, 5, 4)
    start[1], gradients[:, 1] = 0, 0
    together = steps(optimiser, start, gradients)
    assert torch.count_nonzero(together[1]) == 0
    for place in (0, 2):
        assert torch.equal(together[place], steps(optimiser, start[place], gradients[:, place]))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_pruned_stack_is_its_replicates_alone(name: str) -> None:
    spec = trial(training__optimiser={"kind": name}, training__clip_norm=1.0, training__label_smoothing=0.1)
    together = training(spec, [0, 1])
    history = finish(together)
    alone = training(spec, [1])
    for rows, solo in zip(history, finish(alone), strict=True):
        assert rows[1] == pytest.approx(solo[0], rel=1e-5)
    mine, its = together.outcome(1), alone.outcome(0)
    assert any(layer["factored"] for layer in mine.layers)
    for key, weight in mine.weights.items():
        torch.testing.assert_close(weight, its.weights[key], rtol=1e-5, atol=1e-9)
    for stack in together._stacks:
        assert all(torch.count_nonzero(part) == 0 for key in stack.values for part in stack.padding(key))
