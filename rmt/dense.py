"""Factored layers as the matrices they stand for.

W = W₂ W₁ has a gauge, (W₂ G, G⁻¹ W₁): curvature, distances and certificates are comparable between networks
only on the product. Everything that measures a network therefore works on this copy.
"""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class Composable(Protocol):
    """A layer kept as factors that can say which dense layer it is."""

    def compose(self) -> nn.Module:
        """The dense layer with the same function."""
        ...


def dense_copy(module: nn.Module) -> nn.Module:
    """A deep copy in which every factored layer is one dense layer with the product as its weight."""
    twin = copy.deepcopy(module)
    if isinstance(twin, Composable):
        return twin.compose()
    for name, part in list(twin.named_modules()):
        if isinstance(part, Composable):
            twin.set_submodule(name, part.compose())
    return twin
