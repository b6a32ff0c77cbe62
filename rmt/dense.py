"""Factored layers as the matrices they stand for.

W = W₂ W₁ has a gauge, (W₂ G, G⁻¹ W₁): curvature, distances and certificates are comparable between networks
only on the product. Everything that measures a network therefore works on this copy.
"""

from __future__ import annotations

import copy

from torch import nn

from rmt.layers import LowRankConv2d, LowRankLinear


def dense_copy(module: nn.Module) -> nn.Module:
    """A deep copy in which every factored layer is one dense layer with the product as its weight."""
    twin = copy.deepcopy(module)
    if isinstance(twin, LowRankLinear | LowRankConv2d):
        return twin.compose().train(module.training)
    for name, part in list(twin.named_modules()):
        if isinstance(part, LowRankLinear | LowRankConv2d):
            twin.set_submodule(name, part.compose().train(part.training))
    return twin
