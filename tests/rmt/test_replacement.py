"""Layers that are put in the place of others compute what those computed, wherever they stand."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.prune import l1_unstructured

import rmt
from rmt.dense import dense_copy
from rmt.errors import InvalidWeight
from rmt.module_pruning import count_parameters


class Twice(nn.Linear):
    """A linear layer whose class computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Standardised(nn.Conv2d):
    """Weight standardisation, through the part of a convolution that its own forward calls."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        centred = weight - weight.mean((1, 2, 3), keepdim=True)
        return super()._conv_forward(x, centred / (weight.std((1, 2, 3), keepdim=True) + 1e-5), bias)


class Gated(nn.Linear):
    """A linear layer that its parent reads something else of."""

    def __init__(self, cols: int, rows: int) -> None:
        super().__init__(cols, rows)
        self.scale = nn.Parameter(torch.tensor(0.5))


class Alias(nn.Module):
    """One layer under two names, and one inside a container of two names."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a: nn.Module = nn.Linear(60, 60)
        self.b: nn.Module = self.a
        self.block = nn.Sequential(nn.Linear(60, 60), nn.ReLU())
        self.again = self.block
        self.h = nn.Linear(60, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.h(self.again(self.block(self.b(torch.relu(self.a(x))))))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def low_rank_noise(*shape: int) -> Tensor:
    rows, cols = shape[0], int(torch.tensor(shape[1:]).prod())
    return (noise(rows, 4) @ noise(4, cols, seed=1) + 1e-4 * noise(rows, cols, seed=2)).reshape(shape)


def test_a_layer_under_two_names_stays_one() -> None:
    module, x = Alias(), noise(4, 60)
    before = sum(parameter.numel() for parameter in module.parameters())
    report = rmt.prune(module, "rank", 0.8)
    assert {cut.name for cut in report.changed} == {"a", "block.0"}
    assert isinstance(module.a, rmt.LowRankLinear)
    assert module.a is module.b
    assert module.block is module.again
    assert sum(parameter.numel() for parameter in module.parameters()) == report.parameters_after < before
    twin = dense_copy(module)
    assert isinstance(twin.a, nn.Linear)
    assert twin.a is twin.b
    assert torch.allclose(twin(x), module(x), atol=1e-5)
    fresh = rmt.match_structure(Alias(), module.state_dict())
    fresh.load_state_dict(module.state_dict())
    assert fresh.get_submodule("a") is fresh.get_submodule("b")
    assert torch.equal(fresh(x), module(x))


def test_a_cut_that_is_taken_back_is_taken_back_under_every_name() -> None:
    module, x = Alias(), noise(4, 60)
    before, layer = module(x), module.a
    pruner = rmt.Pruner(rmt.layers_of(module), rule="rank", aggressiveness=0.8, every=1, epochs=2)
    pruner.step(module, 1, validate=lambda now: float(torch.equal(now(x), before)), max_drop=0.0)
    assert module.a is layer
    assert module.b is layer
    assert torch.equal(module(x), before)


def test_factors_become_dense_again_under_every_name() -> None:
    module = Alias()
    rmt.prune(module, "rank", 0.8)
    rmt.prune(module, "magnitude", 0.9)
    assert isinstance(module.a, nn.Linear)
    assert module.a is module.b
    assert count_parameters(module) < 3000


@pytest.mark.parametrize("kind", [Twice, Standardised, Gated])
def test_a_class_that_computes_something_else_keeps_doing_so(kind: type[nn.Module]) -> None:
    layer = Standardised(64, 64, 3, padding=1) if kind is Standardised else kind(80, 80)
    weight = layer.get_parameter("weight")
    with torch.no_grad():
        weight.copy_(low_rank_noise(*weight.shape))
    x = noise(2, 64, 4, 4) if kind is Standardised else noise(3, 80)
    module = nn.Sequential(layer)
    before = module(x)
    report = rmt.prune(module, "rank", options={"rank": 10}, heads=[])
    assert report.cuts[0].status == "cut"
    assert report.cuts[0].rank == 10
    assert type(module[0]) is kind
    assert torch.allclose(module(x), before, rtol=1e-3, atol=1e-2)


def test_a_forward_put_on_one_layer_alone_stays() -> None:
    layer, x = nn.Linear(80, 80), noise(3, 80)
    module = nn.Sequential(layer)
    vars(layer)["forward"] = lambda x: 2 * functional.linear(x, layer.weight, layer.bias)
    with torch.no_grad():
        layer.weight.copy_(low_rank_noise(80, 80))
    before = module(x)
    rmt.prune(module, "rank", options={"rank": 10}, heads=[])
    assert torch.allclose(module(x), before, rtol=1e-3, atol=1e-2)


def test_factors_are_refused_for_a_class_that_computes_something_else() -> None:
    factors = rmt.Factors(noise(80, 3), noise(3, 80))
    with pytest.raises(InvalidWeight, match=r"Twice.*forward"):
        rmt.LowRankLinear.from_dense(Twice(80, 80), factors)
    state = {"0.left": factors.left, "0.right": factors.right, "0.bias": torch.zeros(80)}
    with pytest.raises(InvalidWeight, match=r"Twice.*forward"):
        rmt.match_structure(nn.Sequential(Twice(80, 80)), state)
    with pytest.raises(InvalidWeight, match="no layer '0'"):
        rmt.match_structure(nn.ReLU(), state)


def kind_of(module: nn.Sequential) -> type[nn.Module]:
    return type(module[0])


def test_hooks_go_on_and_can_be_removed() -> None:
    module, x = nn.Sequential(nn.Linear(80, 80), nn.Linear(80, 5)), noise(3, 80)
    hits: list[str] = []
    handle = module[0].register_forward_hook(lambda *_: hits.append("forward"))
    module[0].register_forward_pre_hook(lambda *_: hits.append("before"))
    module[0].register_full_backward_hook(lambda *_: hits.append("backward"))
    rmt.prune(module, "rank", 0.8)
    assert kind_of(module) is rmt.LowRankLinear
    module(x.requires_grad_()).sum().backward()
    assert hits == ["before", "forward", "backward"]
    dense_copy(module)(x)
    assert hits[3:] == ["before", "forward"]
    rmt.prune(module, "rank", 0.9)
    handle.remove()
    module(x)
    assert hits[5:] == ["before"]
    rmt.prune(module, "magnitude", 0.95)
    assert kind_of(module) is nn.Linear
    module(x)
    assert hits[6:] == ["before"]


def test_a_factored_layer_alone_is_pruned_in_place() -> None:
    layer = rmt.LowRankLinear(rmt.Factors(noise(80, 70), noise(70, 90)))
    layer.left.requires_grad_(False)
    layer.right.requires_grad_(False)
    report = rmt.prune(layer, "rank", options={"rank": 20}, heads=[])
    assert report.cuts[0].status == "cut"
    assert layer.factors.rank == 20
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    with pytest.raises(InvalidWeight, match="module itself"):
        rmt.prune(layer, "magnitude", 0.9, heads=[], gate={"min_size": 1})


def test_factors_that_two_layers_share_stay_shared() -> None:
    module = nn.Sequential(*(rmt.LowRankLinear(rmt.Factors(noise(80, 20), noise(20, 80))) for _ in range(2)))
    module[1].left = module[0].left
    report = rmt.prune(module, "rank", 0.9, heads=[])
    assert report.cuts == ()
    assert all("shares" in reason for reason in report.without_matrix.values())
    assert module[1].left is module[0].left


def test_parts_of_a_shared_weight_come_once() -> None:
    first, second = (nn.Conv1d(64, 120, 3, groups=2) for _ in range(2))
    second.weight = first.weight
    assert [layer.name for layer in rmt.layers_of(nn.Sequential(first, second))] == ["0[0]", "0[1]"]


def old_style(kind: str) -> nn.Module:
    layer = nn.Linear(64, 64)
    wrap: Any = {
        "weight_norm": torch.nn.utils.weight_norm,
        "spectral_norm": torch.nn.utils.spectral_norm,
        "prune": lambda layer: l1_unstructured(layer, "weight", 0.2),
        "lazy": lambda _: nn.LazyLinear(64),
        "complex": lambda _: nn.Linear(64, 64, dtype=torch.complex64),
        "float8": lambda layer: layer.to(torch.float8_e4m3fn),
        "empty": lambda _: _empty(),
        "attention": lambda _: l1_unstructured(nn.MultiheadAttention(64, 2), "in_proj_weight", 0.2),
    }[kind]
    made: nn.Module = wrap(layer)
    return made


def _empty() -> nn.Linear:
    layer = nn.Linear(64, 64)
    layer.weight = nn.Parameter(torch.zeros(64, 0))
    return layer


UNREADABLE = {
    "weight_norm": "weight_g",
    "spectral_norm": "weight_orig",
    "prune": "weight_orig",
    "attention": "in_proj_weight_orig",
    "lazy": "no values yet",
    "complex": "complex64",
    "float8": "float8",
    "empty": r"shape \(64, 0\)",
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*Lazy.*:UserWarning")
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_weight_that_is_no_plain_matrix_is_left_with_its_reason(kind: str) -> None:
    module = nn.Sequential(nn.Linear(64, 64), old_style(kind), nn.Linear(64, 10))
    kept = type(module[1])
    table = rmt.analyse(module).set_index("layer")
    assert re.search(UNREADABLE[kind], str(table.loc["1", "reason"]))
    report = rmt.prune(module, "rank", 0.5)
    assert {cut.name for cut in report.changed} >= {"0"}
    assert "1" in report.without_matrix
    assert type(module[1]) is kept
