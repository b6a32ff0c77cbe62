"""Convolutional networks: LeNet-5, the paper's kind, VGG and AlexNet in their CIFAR form."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Interval, Lt, MaxLen, MinLen
from torch import nn

from sweeps.models import ARCHITECTURES, Shape
from sweeps.models.mlp import ACTIVATIONS, Activation

Channels: TypeAlias = Annotated[list[Annotated[int, Ge(1)]], MinLen(1), MaxLen(64)]
Widths: TypeAlias = Annotated[list[Annotated[int, Ge(1)]], MaxLen(16)]
Dropout: TypeAlias = Annotated[float, Ge(0), Lt(1)]
Normalisation: TypeAlias = Literal["none", "batch", "group"]
Parts: TypeAlias = "OrderedDict[str, nn.Module]"

VGG_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
VGG_MULTIPLES = (1, 2, 4, 8, 8)


def normalise(kind: Normalisation, channels: int) -> nn.Module | None:
    """A normalisation layer of these channels; groups of 32 channels or of their largest divisor below."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "group":
        return nn.GroupNorm(next(g for g in range(min(32, channels), 0, -1) if channels % g == 0), channels)
    return None


@ARCHITECTURES.register(version=1, stackable=True, small={})
def lenet5(
    shape: Shape, classes: int, *, activation: Activation = "tanh", pooling: Literal["average", "max"] = "average"
) -> nn.Module:
    """LeNet-5 (LeCun et al. 1998): two 5 × 5 convolutions with pooling, then 120 and 84 units.

    The first convolution is padded, so that images of 28 × 28 need no border.
    """
    pool = nn.AvgPool2d if pooling == "average" else nn.MaxPool2d
    parts: Parts = OrderedDict()
    for number, (inputs, outputs, padding) in enumerate([(shape[0], 6, 2), (6, 16, 0)], 1):
        parts[f"conv{number}"] = nn.Conv2d(inputs, outputs, 5, padding=padding)
        parts[f"activation{number}"] = ACTIVATIONS[activation]()
        parts[f"pool{number}"] = pool(2)
    return _with_head(parts, shape, [120, 84], classes, activation)


@ARCHITECTURES.register(version=1, stackable=None, small={"channels": [8, 16], "hidden": [64], "dropout": 0.2})
def cnn(
    shape: Shape,
    classes: int,
    *,
    channels: Channels = [32, 64],  # noqa: B006 - never changed here, and a spec holds lists
    hidden: Widths = [128],  # noqa: B006
    pool_every: Annotated[int, Ge(0)] = 1,
    padding: Annotated[int, Interval(ge=0, le=1)] = 1,
    normalisation: Normalisation = "none",
    activation: Activation = "relu",
    convolution_dropout: Dropout = 0.0,
    dropout: Dropout = 0.0,
) -> nn.Module:
    """3 × 3 convolutions, a 2 × 2 maximum after every `pool_every` of them, fully connected layers.

    The paper's network (SCIENCE 2.2): channels [32, 64, 128, 256, 512], hidden [1000], padding 0, pool_every 3,
    normalisation batch, convolution_dropout 0.35, dropout 0.5.
    """
    parts: Parts = OrderedDict()
    inputs = shape[0]
    for number, outputs in enumerate(channels, 1):
        parts[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=padding)
        if (norm := normalise(normalisation, outputs)) is not None:
            parts[f"norm{number}"] = norm
        parts[f"conv_activation{number}"] = ACTIVATIONS[activation]()
        if pool_every and number % pool_every == 0:
            parts[f"pool{number}"] = nn.MaxPool2d(2)
        if convolution_dropout:
            parts[f"conv_dropout{number}"] = nn.Dropout(convolution_dropout)
        inputs = outputs
    return _with_head(parts, shape, hidden, classes, activation, dropout)


@ARCHITECTURES.register(version=1, stackable=None, small={"width": 8, "hidden": [64]})
def vgg(
    shape: Shape,
    classes: int,
    *,
    depth: Literal[11, 13, 16] = 11,
    width: Annotated[int, Ge(1)] = 64,
    normalisation: Normalisation = "none",
    hidden: Widths = [],  # noqa: B006 - never changed here, and a spec holds lists
    dropout: Dropout = 0.0,
) -> nn.Module:
    """VGG for images of 32 × 32 and more (Simonyan and Zisserman 2015, arXiv:1409.1556, table 1: A, B, D).

    `width` is that of the first stage; the others have 2, 4, 8 and 8 times as many channels.
    """
    parts: Parts = OrderedDict()
    inputs, number = shape[0], 0
    for stage, (repeats, multiple) in enumerate(zip(VGG_STAGES[depth], VGG_MULTIPLES, strict=True), 1):
        outputs = multiple * width
        for _ in range(repeats):
            number += 1
            parts[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1)
            if (norm := normalise(normalisation, outputs)) is not None:
                parts[f"norm{number}"] = norm
            parts[f"conv_activation{number}"] = nn.ReLU()
            inputs = outputs
        parts[f"pool{stage}"] = nn.MaxPool2d(2)
    return _with_head(parts, shape, hidden, classes, "relu", dropout)


@ARCHITECTURES.register(version=1, stackable=True, small={"width": 8, "hidden": [64]})
def alexnet(
    shape: Shape,
    classes: int,
    *,
    width: Annotated[int, Ge(1)] = 64,
    hidden: Widths = [4096, 4096],  # noqa: B006 - never changed here, and a spec holds lists
    dropout: Dropout = 0.0,
) -> nn.Module:
    """AlexNet's five convolutions (Krizhevsky et al. 2012) with 3 × 3 kernels, as used for 32 × 32 images.

    `width` is that of the first; the others have 3, 6, 4 and 4 times as many channels.
    """
    layers = [(1, 2, True), (3, 1, True), (6, 1, False), (4, 1, False), (4, 1, True)]
    parts: Parts = OrderedDict()
    inputs = shape[0]
    for number, (multiple, stride, is_pooled) in enumerate(layers, 1):
        outputs = multiple * width
        parts[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        parts[f"conv_activation{number}"] = nn.ReLU()
        if is_pooled:
            parts[f"pool{number}"] = nn.MaxPool2d(2)
        inputs = outputs
    return _with_head(parts, shape, hidden, classes, "relu", dropout)


def _with_head(
    parts: Parts, shape: Shape, hidden: list[int], classes: int, activation: Activation, dropout: float = 0.0
) -> nn.Module:
    """Flatten, hidden layers, and the head, after the convolutions in `parts`."""
    inputs = _features(parts, shape)
    parts["flatten"] = nn.Flatten()
    for number, width in enumerate(hidden, 1):
        parts[f"linear{number}"] = nn.Linear(inputs, width)
        parts[f"linear_activation{number}"] = ACTIVATIONS[activation]()
        if dropout:
            parts[f"dropout{number}"] = nn.Dropout(dropout)
        inputs = width
    parts["head"] = nn.Linear(inputs, classes)
    return nn.Sequential(parts)


def _features(parts: Parts, shape: Shape) -> int:
    """How many numbers the convolutions make of one image.

    Raises:
        ValueError: The image is too small for them.
    """
    channels, height, width = shape
    for name, part in parts.items():
        if not isinstance(part, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            continue
        kernel, stride, padding = (_side(getattr(part, what)) for what in ("kernel_size", "stride", "padding"))
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
        channels = part.out_channels if isinstance(part, nn.Conv2d) else channels
        if min(height, width) < 1:
            raise ValueError(f"nothing is left of an image of {shape[1]} x {shape[2]} at {name}")
    return channels * height * width


def _side(size: int | tuple[int, ...] | str) -> int:
    return int(size[0] if isinstance(size, tuple) else size)
