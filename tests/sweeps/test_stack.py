"""Stacks: join and take are inverse, programs agree with autograd, whatever the network and its structure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from rmt import Factors, match_structure
from sweeps import models
from sweeps.stack import RANK_MULTIPLE, Replica, Stack, regroup
from sweeps.stack_chain import Chain
from sweeps.stack_modules import Modules
from sweeps.stack_program import Program
from sweeps.stack_slots import carry
from sweeps.trial_spec import Model

EXAMPLES, CLASSES = 12, 5


def network(**options: Any) -> nn.Module:
    model = Model.model_validate({"kind": "mlp", "widths": [9, 7], **options})
    return models.build(model, (1, 4, 4), CLASSES).double()


def replica_of(module: nn.Module, ranks: dict[str, int], seed: int) -> Replica:
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name, parameter in module.named_parameters():
        layer, _, last = name.rpartition(".")
        if last == "weight" and layer in ranks:
            rows, cols = parameter.shape
            values[f"{layer}.left"] = torch.randn(rows, ranks[layer], generator=generator).double()
            values[f"{layer}.right"] = torch.randn(ranks[layer], cols, generator=generator).double()
        else:
            values[name] = torch.randn(parameter.shape, generator=generator).double()
    slots = {"momentum": {name: torch.randn(value.shape, generator=generator) for name, value in values.items()}}
    return Replica(values, slots)


def by_autograd(
    module: nn.Module, values: dict[str, Tensor], inputs: Tensor, labels: Tensor
) -> tuple[Tensor, list[Tensor]]:
    leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
    logits = functional_call(match_structure(module, leaves), leaves, (inputs,))
    loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    return loss.detach(), list(torch.autograd.grad(loss, list(leaves.values())))


@settings(max_examples=25)
@given(
    activation=st.sampled_from(["relu", "tanh", "gelu", "silu"]),
    bias=st.booleans(),
    output=st.sampled_from(["none", "relu"]),
    factored=st.sets(st.sampled_from(["linear1", "linear2", "head"])),
    is_mapped=st.booleans(),
)
def test_both_programs_give_autograds_gradients(
    activation: str, bias: bool, output: str, factored: set[str], is_mapped: bool
) -> None:
    options = {"activation": activation, "bias": bias, "output_activation": output}
    ranks = [dict.fromkeys(sorted(factored), rank) for rank in (2, 3)]
    replicas = [replica_of(network(**options), rank, seed) for seed, rank in enumerate(ranks)]
    stack = Stack.join([0, 1], replicas)
    module = network(**options)
    chain = Chain.of(module)
    assert chain is not None
    program: Program = Modules(module, stack) if is_mapped else chain
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(EXAMPLES, 1, 4, 4, generator=generator).double()
    labels = torch.randint(CLASSES, (EXAMPLES,), generator=generator)
    found = program.step(stack.values, {}, inputs, labels, 0.1)
    gradients = {name: torch.zeros_like(value) for name, value in stack.values.items()}
    for name, places, values in found.gradients:
        gradients[name][places] = values
    reading = program.read(stack.values, {}, inputs)
    stack.values = gradients
    for place, replica in enumerate(replicas):
        loss, wanted = by_autograd(network(**options), replica.values, inputs, labels)
        torch.testing.assert_close(found.losses[place], loss)
        for (name, gradient), its in zip(replica.values.items(), wanted, strict=True):
            torch.testing.assert_close(stack.take(place).values[name], its, msg=name)
            assert gradient.shape == its.shape
        logits = functional_call(match_structure(network(**options), replica.values), replica.values, (inputs,))
        torch.testing.assert_close(reading.logits[place], logits.detach())
        assert found.hits[place] == (logits.argmax(1) == labels).sum()
    assert len(reading.active) == (2 if activation == "relu" else 0)


def test_padding_has_zero_gradient() -> None:
    module = network()
    replicas = [replica_of(module, {"linear2": rank}, rank) for rank in (1, 4)]
    stack = Stack.join([0, 1], replicas)
    chain = Chain.of(module)
    assert chain is not None
    found = chain.step(stack.values, {}, torch.randn(3, 1, 4, 4).double(), torch.tensor([0, 1, 2]), 0.0)
    for name, places, values in found.gradients:
        stack.values[name][places] = values
    parts = [part for name in ("linear2.left", "linear2.right") for part in stack.padding(name)]
    assert sum(part.numel() for part in parts) == (7 + 9) * (2 * RANK_MULTIPLE - 1 - 4)
    assert all(torch.count_nonzero(part) == 0 for part in parts)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_take_gives_back_what_join_was_given(ranks: list[int]) -> None:
    replicas = [replica_of(network(), {"linear1": rank}, seed) for seed, rank in enumerate(ranks)]
    stack = Stack.join(range(len(ranks)), replicas)
    for place, replica in enumerate(replicas):
        back = stack.take(place)
        assert stack.parameters(place) == replica.parameters == back.parameters
        assert back.values.keys() == replica.values.keys()
        assert all(torch.equal(back.values[name], value) for name, value in replica.values.items())
        assert all(torch.equal(back.slots["momentum"][n], value) for n, value in replica.slots["momentum"].items())


def test_a_layer_dense_in_one_and_factored_in_another_makes_two_stacks() -> None:
    module = network()
    replicas = {
        0: replica_of(module, {}, 0),
        1: replica_of(module, {"linear1": 3}, 1),
        2: replica_of(module, {}, 2),
        3: replica_of(module, {"linear1": 4, "linear2": 2}, 3),
    }
    assert [stack.members for stack in regroup(replicas, set())] == [(0, 2), (1,), (3,)]
    with_dead = regroup(replicas, {1})
    assert [stack.members for stack in with_dead] == [(0, 1, 2), (3,)]
    assert with_dead[0].frozen == {1}
    assert all(torch.count_nonzero(value[1]) == 0 for value in with_dead[0].values.values())
    assert [stack.members for stack in regroup(replicas, {1}, together=False)] == [(0,), (2,), (3,)]
    assert regroup(replicas, {0, 1, 2, 3}) == []


def test_momentum_is_carried_as_the_gradient_is() -> None:
    """For a loss that is linear in W the gradient is constant, and so is what momentum becomes."""
    gradient = torch.randn(8, 6).double()
    first = Factors(torch.randn(8, 4).double(), torch.randn(4, 6).double())
    second = Factors(first.left @ torch.randn(4, 2).double(), torch.randn(2, 4).double() @ first.right)
    replica = Replica({"a.weight": torch.zeros(8, 6)}, {"momentum": {"a.weight": gradient}})
    before: Tensor | Factors = torch.zeros(8, 6)
    for factors in (first, second):
        carry(replica, "a", before, factors, {"momentum": 1})
        momentum = replica.slots["momentum"]
        torch.testing.assert_close(momentum["a.left"], gradient @ factors.right.mT)
        torch.testing.assert_close(momentum["a.right"], factors.left.mT @ gradient)
        before = factors


@pytest.mark.parametrize("kind", ["lenet5", "resnet18"])
def test_only_perceptrons_are_chains(kind: str) -> None:
    assert Chain.of(models.build(Model.model_validate({"kind": kind}), (1, 28, 28), 10)) is None
    assert Chain.of(network()) is not None
