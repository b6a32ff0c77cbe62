"""How far a change travels through one step of a network: a rule for each kind of layer and function.

A linear map takes |change| through |weights| and no bias, an elementwise activation times its Lipschitz constant,
a pooling as it is (SCIENCE §3, tier c). The `gain` multiplies operator norms of ℓ∞ (tier d).
"""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Largest slope of x Φ(x), reached at √2, and of x sigmoid(x), reached at 2.3994; rounded up.
GELU_SLOPE, SILU_SLOPE = 1.12891, 1.09985


class NoBound(Exception):
    """A step of the network without a propagation rule; the message is the reason shown to the user."""


@dataclass(frozen=True)
class Reach:
    """Bounds at one point of the graph.

    Attributes:
        coordinates: Upper bound of |change|, shape of the activation there, (samples, ...).
        gain: Factor by which the ℓ∞ norm of the change at the layer can have grown on the way.
    """

    coordinates: Tensor
    gain: float


def with_weight(layer: nn.Module, weight: Tensor) -> nn.Module:
    """The linear part of a Linear or Conv layer with other weights: same geometry, no bias."""
    twin = copy.deepcopy(layer)
    twin.weight = nn.Parameter(weight, requires_grad=False)
    twin.register_parameter("bias", None)
    return twin


def _linear(layer: Any, reach: Reach) -> Reach:
    size = layer.weight.detach().abs()
    gain = float(size.flatten(1).sum(1).max())
    return Reach(with_weight(layer, size)(reach.coordinates), reach.gain * gain)


def _normalisation(layer: Any, reach: Reach) -> Reach:
    if layer.running_var is None:
        raise NoBound(f"{type(layer).__name__} without running statistics mixes the samples of a batch")
    scale = (layer.running_var + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight.detach().abs()
    shape = (1, -1, *[1] * (reach.coordinates.ndim - 2))
    return Reach(reach.coordinates * scale.view(shape), reach.gain * float(scale.max()))


def slope_of(layer: nn.Module) -> float | None:
    """Lipschitz constant of an elementwise activation module, or None when it is not a known one."""
    match layer:
        case nn.LeakyReLU():
            return max(1.0, abs(layer.negative_slope))
        case nn.ELU():
            return max(1.0, layer.alpha)
        case nn.Sigmoid():
            return 0.25
        case nn.GELU(approximate="none"):
            return GELU_SLOPE
        case nn.SiLU():
            return SILU_SLOPE
        case nn.ReLU() | nn.ReLU6() | nn.Hardtanh() | nn.Tanh() | nn.Softplus() | nn.Softsign() | nn.CELU():
            return 1.0
        case _:
            return None


TRANSPARENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
# Linear with non-negative weights that sum to at most one, or a maximum: the operation applied to |change|
# bounds the change of its result.
MONOTONE = (
    *(nn.Flatten, nn.Unflatten, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
MONOTONE_FUNCTIONS = {
    *(
        torch.flatten,
        torch.reshape,
        torch.mean,
        functional.max_pool1d,
        functional.max_pool2d,
        functional.max_pool3d,
    ),
    *(functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d),
}
MONOTONE_METHODS = {"flatten", "view", "reshape", "mean", "contiguous", "permute", "transpose", "squeeze"}
FLAT = (functional.relu, functional.relu_, functional.relu6, functional.tanh, torch.relu, torch.relu_, torch.tanh)
SLOPES: dict[Any, float] = {
    **dict.fromkeys((*FLAT, "relu", "relu_", "tanh"), 1.0),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, "sigmoid"), 0.25),
    functional.silu: SILU_SLOPE,
}
SUMS = {operator.add, operator.sub, operator.iadd, operator.isub, torch.add, torch.sub, "add", "sub", "add_"}


def through(layer: nn.Module, reach: Reach) -> Reach:
    """Bounds behind one module.

    Raises:
        NoBound: There is no rule for this kind of module.
    """
    kind = type(layer).__name__
    if is_parametrized(layer) or layer._forward_hooks or layer._forward_pre_hooks:
        raise NoBound(f"this {kind} is parametrised or has hooks: its weight alone does not say what it does")
    if isinstance(layer, CONVOLUTIONS) and reach.coordinates.ndim != layer.weight.ndim:
        raise NoBound(f"a {kind} that takes the samples for channels mixes them")
    if isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
        return _linear(layer, reach)
    if isinstance(layer, NORMALISATIONS):
        return _normalisation(layer, reach)
    if isinstance(layer, TRANSPARENT):
        return reach
    if isinstance(layer, MONOTONE) or (
        isinstance(layer, nn.AvgPool2d | nn.AvgPool3d) and layer.divisor_override is None
    ):
        return Reach(layer(reach.coordinates), reach.gain)
    slope = slope_of(layer)
    if slope is None:
        raise NoBound(f"no propagation rule for {kind}")
    return Reach(reach.coordinates * slope, reach.gain * slope)
