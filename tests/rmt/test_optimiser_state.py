from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

import rmt
from rmt.errors import InvalidOption
from rmt.matrices import Factors


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@contextmanager
def unchecked() -> Iterator[None]:
    """Without the run-time checks of types that tests have and users have not."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 60), nn.Tanh(), nn.Linear(60, 60), nn.Tanh(), nn.Linear(60, 5)).double()


def linear(module: nn.Sequential, index: int) -> nn.Linear:
    part = module[index]
    assert isinstance(part, nn.Linear)
    return part


def low_rank(module: nn.Sequential, index: int) -> rmt.LowRankLinear:
    part = module[index]
    assert isinstance(part, rmt.LowRankLinear)
    return part


def train(module: nn.Module, optimiser: torch.optim.Optimizer, steps: int, seed: int = 0) -> None:
    for step in range(steps):
        optimiser.zero_grad()
        module(noise(16, 64, seed=100 * seed + step)).square().mean().backward()
        optimiser.step()


def cut(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    strength: float,
    carry: str = "project",
    rule: str = "rank",
) -> rmt.PruneReport:
    pruner = rmt.Pruner(rmt.layers_of(module), rule=rule, aggressiveness=strength, every=1, epochs=2)
    report = pruner.step(module, 1, optimiser=optimiser, carry=carry)  # type: ignore[arg-type]
    assert report is not None
    return report


def test_momentum_of_factors_is_the_chain_rule() -> None:
    """The gradient of the factors, by autograd, is the projected gradient of the product."""
    left, right = noise(8, 3).requires_grad_(), noise(3, 9, seed=1).requires_grad_()
    weight = (left @ right).detach().requires_grad_()
    target = noise(8, 9, seed=2)
    (left @ right - target).square().sum().backward()
    (weight - target).square().sum().backward()
    assert weight.grad is not None
    assert left.grad is not None
    assert right.grad is not None
    found = rmt.project_momentum(weight.grad, weight, Factors(left.detach(), right.detach()))
    torch.testing.assert_close(found.left, left.grad)
    torch.testing.assert_close(found.right, right.grad)


def test_momentum_of_smaller_factors_is_that_of_the_same_gradients() -> None:
    """From factors to a truncation of them, nothing needs the gradient of the product."""
    before = Factors(noise(8, 5), noise(5, 9, seed=1))
    gradient = noise(8, 9, seed=2)
    u, s, v = torch.linalg.svd(before.compose())
    after = Factors(u[:, :2] * s[:2].sqrt(), s[:2].sqrt()[:, None] * v[:2])
    first = rmt.project_momentum(gradient, before.compose(), before)
    again = rmt.project_momentum(first, before, after)
    expected = rmt.project_momentum(gradient, before.compose(), after)
    torch.testing.assert_close(again.left, expected.left)
    torch.testing.assert_close(again.right, expected.right)


def test_sgd_goes_on_with_the_projected_momentum() -> None:
    module = network()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    train(module, optimiser, 3)
    momentum = optimiser.state[linear(module, 0).weight]["momentum_buffer"].clone()
    head = optimiser.state[linear(module, 4).weight]["momentum_buffer"].clone()
    cut(module, optimiser, 0.8)
    layer = low_rank(module, 0)
    torch.testing.assert_close(optimiser.state[layer.left]["momentum_buffer"], momentum @ layer.right.detach().mT)
    torch.testing.assert_close(optimiser.state[layer.right]["momentum_buffer"], layer.left.detach().mT @ momentum)
    assert torch.equal(optimiser.state[linear(module, 4).weight]["momentum_buffer"], head)
    trained = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    assert trained >= {id(layer.left), id(layer.right)}
    assert trained == {id(parameter) for parameter in module.parameters()}  # biases included
    before = layer.left.detach().clone()
    train(module, optimiser, 1)
    assert not torch.equal(before, layer.left)
    cut(module, optimiser, 0.9)
    assert low_rank(module, 0).factors.rank == 6
    train(module, optimiser, 2)


def test_adam_restarts_its_second_moments_and_keeps_the_direction() -> None:
    module = network()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01, betas=(0.9, 0.99))
    train(module, optimiser, 5)
    old = copy.deepcopy(optimiser.state[linear(module, 0).weight])
    cut(module, optimiser, 0.8)
    layer = low_rank(module, 0)
    state = optimiser.state[layer.left]
    mean = old["exp_avg"] / (1 - 0.9**5) @ layer.right.detach().mT
    # Where it would be if the projected mean were the one gradient it ever saw.
    assert float(state["step"]) == 1
    torch.testing.assert_close(state["exp_avg"], (1 - 0.9) * mean)
    torch.testing.assert_close(state["exp_avg_sq"], (1 - 0.99) * mean**2)
    before = layer.left.detach().clone()
    train(module, optimiser, 1)
    step = (layer.left.detach() - before).abs()
    assert float(step.max()) < 2 * 0.01  # no leap: a step of Adam is about the learning rate


@pytest.mark.parametrize("make", [torch.optim.RMSprop, torch.optim.Adagrad])
def test_state_of_other_optimisers_starts_afresh(make: Callable[..., torch.optim.Optimizer]) -> None:
    module = network()
    optimiser = make(module.parameters(), lr=0.01)
    train(module, optimiser, 2)
    cut(module, optimiser, 0.8)
    if make is torch.optim.Adagrad:  # it makes its state with itself, for the parameters it knows
        optimiser = make(module.parameters(), lr=0.01)
    train(module, optimiser, 2)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())


def test_reset_forgets_everything() -> None:
    module = network()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    train(module, optimiser, 2)
    cut(module, optimiser, 0.8, carry="reset")
    assert len(optimiser.state) == 0
    train(module, optimiser, 2)


def test_weights_that_stay_dense_keep_their_state() -> None:
    module = network()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    train(module, optimiser, 2)
    before = optimiser.state[linear(module, 0).weight]["momentum_buffer"].clone()
    cut(module, optimiser, 0.05)
    assert torch.equal(optimiser.state[linear(module, 0).weight]["momentum_buffer"], before)


def test_layers_that_are_not_trained_are_not_added() -> None:
    module = network()
    optimiser = torch.optim.SGD(module[4].parameters(), lr=0.1, momentum=0.9)
    cut(module, optimiser, 0.8)
    assert len(optimiser.param_groups[0]["params"]) == 2


def test_factors_that_become_dense_again_start_afresh() -> None:
    module = network()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    cut(module, optimiser, 0.7)
    train(module, optimiser, 2)
    assert low_rank(module, 0).factors.rank > 0
    report = cut(module, optimiser, 0.9, rule="magnitude")
    assert linear(module, 0).weight not in optimiser.state
    assert "0" in report.masks
    train(module, optimiser, 1)


def test_forms_must_agree() -> None:
    with pytest.raises(TypeError, match="same form"):
        rmt.project_momentum(noise(3, 3), Factors(noise(3, 1), noise(1, 3)), Factors(noise(3, 1), noise(1, 3)))


def test_an_unknown_way_to_carry_is_refused_before_anything_is_cut() -> None:
    module = network()
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(InvalidOption, match="carry is 'bogus'; known: project, reset"), unchecked():
        cut(module, torch.optim.SGD(module.parameters(), lr=0.1), 0.9, carry="bogus")
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    weight = nn.Parameter(noise(3, 3))
    with pytest.raises(InvalidOption, match="carry is 'bogus'"), unchecked():
        rmt.carry_state(torch.optim.SGD([weight], lr=0.1), [weight], [weight], weight, weight, "bogus")  # type: ignore[arg-type]
