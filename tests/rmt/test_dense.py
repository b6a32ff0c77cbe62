"""Composed copies: the same function, no factors, the original untouched."""

from __future__ import annotations

import torch
from torch import nn

from rmt.dense import dense_copy
from rmt.layers import LowRankConv2d, LowRankLinear, low_rank
from rmt.matrices import Factors


def factored() -> nn.Sequential:
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(2, 6, 3, padding=1), nn.Linear(24, 9)
    return nn.Sequential(
        low_rank(conv, Factors(torch.randn(6, 2), torch.randn(2, 18))),
        nn.Flatten(),
        nn.Sequential(low_rank(linear, Factors(torch.randn(9, 3), torch.randn(3, 24)))),
    )


def test_the_copy_is_dense_and_computes_the_same() -> None:
    module = factored().eval()
    twin = dense_copy(module)
    images = torch.randn(4, 2, 2, 2)
    torch.testing.assert_close(twin(images), module(images), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(part, LowRankLinear | LowRankConv2d) for part in twin.modules())
    assert not any(part.training for part in twin.modules())
    assert isinstance(module[0], LowRankConv2d)


def test_a_factored_layer_alone_is_composed_too() -> None:
    layer = factored()[0]
    twin = dense_copy(layer)
    assert isinstance(twin, nn.Conv2d)
    images = torch.randn(4, 2, 5, 5)
    torch.testing.assert_close(twin(images), layer(images), rtol=1e-4, atol=1e-5)


def test_the_gauge_of_the_factors_does_not_show() -> None:
    module = factored()
    with torch.no_grad():
        module.get_parameter("0.left").mul_(4)
        module.get_parameter("0.right").div_(4)
    assert torch.equal(
        dense_copy(module).get_parameter("0.weight"), dense_copy(factored()).get_parameter("0.weight")
    )
