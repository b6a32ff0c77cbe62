"""The vision transformer."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from sweeps.models import ARCHITECTURES, Shape


class Attention(nn.Module):
    """Self-attention with its four projections as linear layers of their own, which pruning can factor."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(example, token, width) to the same."""

        def split(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        mixed = nn.functional.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(x)), split(self.value(x))
        )
        result: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """Attention and a two-layer perceptron, each after a normalisation and beside a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.activation = nn.GELU()
        self.linear2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(example, token, width) to the same."""
        x = x + self.dropout(self.attention(self.norm1(x)))
        inner: Tensor = self.linear2(self.activation(self.linear1(self.norm2(x))))
        return x + self.dropout(inner)


class _Transformer(nn.Module):
    def __init__(
        self,
        shape: Shape,
        classes: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        ratio: int,
        dropout: float,
    ) -> None:
        super().__init__()
        channels, rows, cols = shape
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.position = nn.Parameter(torch.zeros(1, (rows // patch) * (cols // patch) + 1, width))
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, ratio * width, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(example, channel, height, width) to logits."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.position
        logits: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return logits


@ARCHITECTURES.register(version=1, stackable=True, small={"width": 64, "depth": 1, "patch": 8})
def vit(
    shape: Shape,
    classes: int,
    *,
    patch: Annotated[int, Ge(1)] = 4,
    width: Annotated[int, Ge(1)] = 64,
    depth: Annotated[int, Ge(1)] = 4,
    heads: Annotated[int, Ge(1)] = 4,
    ratio: Annotated[int, Ge(1)] = 4,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> nn.Module:
    """Vision transformer with a class token (Dosovitskiy et al. 2021, arXiv:2010.11929).

    Patches of `patch` × `patch` pixels, `depth` blocks of `width` with `heads` heads and an inner width of
    `ratio` · `width`.

    Raises:
        ValueError: Patches do not tile the image, or heads do not divide the width.
    """
    if shape[1] % patch or shape[2] % patch:
        raise ValueError(f"patches of {patch} do not tile an image of {shape[1]} x {shape[2]}")
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    return _Transformer(shape, classes, patch, width, depth, heads, ratio, dropout)
