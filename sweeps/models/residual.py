"""ResNet-18 with the stem for small images."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor, nn

from sweeps.models import ARCHITECTURES, Shape
from sweeps.models.convolutional import normalise

STRIDES = (1, 2, 2, 2)


class Block(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut (He et al. 2016, arXiv:1512.03385, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Literal["batch", "group"]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = normalise(norm, outputs)
        self.activation1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = normalise(norm, outputs)
        self.activation2 = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(normalise(norm, outputs) or nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """(example, channel, height, width) to the same with `outputs` channels."""
        assert self.norm1 is not None  # noqa: S101 - both kinds have a layer
        assert self.norm2 is not None  # noqa: S101
        inner = self.activation1(self.norm1(self.conv1(x)))
        sum_: Tensor = self.norm2(self.conv2(inner)) + self.shortcut(x)
        result: Tensor = self.activation2(sum_)
        return result


class _Residual(nn.Module):
    def __init__(self, channels: int, classes: int, width: int, norm: Literal["batch", "group"]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.stem_norm = normalise(norm, width) or nn.Identity()
        self.stem_activation = nn.ReLU()
        self.blocks = nn.Sequential()
        inputs = width
        for stage, stride in enumerate(STRIDES):
            outputs = width * 2**stage
            self.blocks.append(Block(inputs, outputs, stride, norm))
            self.blocks.append(Block(outputs, outputs, 1, norm))
            inputs = outputs
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(example, channel, height, width) to logits."""
        features = self.blocks(self.stem_activation(self.stem_norm(self.stem(x))))
        logits: Tensor = self.head(torch.mean(features, (2, 3)))
        return logits


@ARCHITECTURES.register(version=1, stackable=None, any_size=True, small={"width": 8})
def resnet18(
    shape: Shape,
    classes: int,
    *,
    normalisation: Literal["batch", "group"] = "group",
    width: Annotated[int, Ge(1)] = 64,
) -> nn.Module:
    """ResNet-18 (He et al. 2016) with a 3 × 3 stem, for images of 32 × 32 or so.

    With group normalisation (Wu and He 2018, arXiv:1803.08494) replicates train as a stack; with batch
    normalisation one by one.
    """
    return _Residual(shape[0], classes, width, normalisation)
