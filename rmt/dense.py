"""Factored layers as the matrices they stand for.

W = W₂ W₁ has a gauge, (W₂ G, G⁻¹ W₁): curvature, distances and certificates are comparable between networks
only on the product. Everything that measures a network therefore works on this copy.
"""

from __future__ import annotations

import copy

from torch import nn

from rmt.errors import InvalidWeight
from rmt.layers import LowRankConv2d, LowRankLinear
from rmt.replacement import carry_hooks, replace_layer


def dense_copy(module: nn.Module) -> nn.Module:
    """A deep copy in which every factored layer is one dense layer with the product as its weight.

    Raises:
        InvalidWeight: torch can not copy the module: a weight is computed outside of any parametrisation.
    """
    try:
        twin = copy.deepcopy(module)
    except RuntimeError as error:
        raise InvalidWeight(f"the {type(module).__name__} can not be copied: {error}") from error
    for part in list(twin.modules()):
        if isinstance(part, LowRankLinear | LowRankConv2d):
            composed = part.compose().train(part.training)
            if part is twin:
                carry_hooks(part, composed)
                return composed
            replace_layer(twin, part, composed)
    return twin
