"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Annotated, Literal

from annotated_types import Ge, MaxLen
from torch import nn

from sweeps.models import ARCHITECTURES, Shape

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}
Activation = Literal["relu", "tanh", "gelu", "silu"]
Widths = Annotated[list[Annotated[int, Ge(1)]], MaxLen(64)]


@ARCHITECTURES.register(version=1, stackable=True, any_size=True, small={"widths": [96, 64]})
def mlp(
    shape: Shape,
    classes: int,
    *,
    widths: Widths = [256, 256],  # noqa: B006 - never changed here, and a spec holds lists
    activation: Activation = "relu",
    bias: bool = True,
    output_activation: Literal["none", "relu"] = "none",
) -> nn.Module:
    """Fully connected layers of the given widths, then the head.

    `output_activation: relu` reproduces public code of the paper, which applies ReLU to the logits: outputs then
    die and classes are never predicted, so it is not the default.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    inputs = math.prod(shape)
    for number, width in enumerate(widths, 1):
        parts[f"linear{number}"] = nn.Linear(inputs, width, bias=bias)
        parts[f"activation{number}"] = ACTIVATIONS[activation]()
        inputs = width
    parts["head"] = nn.Linear(inputs, classes, bias=bias)
    if output_activation == "relu":
        parts["output_activation"] = nn.ReLU()
    return nn.Sequential(parts)
