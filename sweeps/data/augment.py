"""Augmentations: random changes of a batch of images, as tensor operations on the whole batch.

An augmentation receives images (batch, channels, height, width) and a generator, and returns new images of the
same shape, type and device. What it draws depends on the generator and the shape of the batch only, and is drawn
on the generator's device; replicates of a stack share it, as they share their data order. Blank pixels are 0: the
mean of the training part, once images are normalised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Interval
from jaxtyping import Float
from torch import Generator, Tensor

from rmt.registry import Registry

Images = Float[Tensor, "batch channels height width"]
Augmentation = Callable[[Images, Generator], Images]
AUGMENTATIONS: Registry[Callable[..., Images]] = Registry("augmentation")


def augment(steps: Sequence[Mapping[str, Any]]) -> Augmentation:
    """One function that applies augmentations in the order given.

    >>> both = augment([{"kind": "crop", "padding": 4}, {"kind": "flip"}])
    >>> both(torch.zeros(2, 3, 32, 32), Generator().manual_seed(0)).shape
    torch.Size([2, 3, 32, 32])

    Raises:
        UnknownName: A `kind` that is not registered; the message lists those that are.
        ValidationError: An option that the augmentation does not have, or out of its range.
    """
    entries = [AUGMENTATIONS[step["kind"]] for step in steps]
    options = [
        entry.validate({name: value for name, value in step.items() if name != "kind"})
        for entry, step in zip(entries, steps, strict=True)
    ]

    def apply(images: Images, generator: Generator) -> Images:
        for entry, chosen in zip(entries, options, strict=True):
            images = entry.function(images, generator, **chosen)
        return images

    return apply


@AUGMENTATIONS.register(version=1)
def crop(images: Images, generator: Generator, *, padding: Annotated[int, Ge(1)] = 4) -> Images:
    """Shift by up to `padding` pixels each way: pad with zeros, cut out at a random place."""
    batch, channels, height, width = images.shape
    top, left = _integers(images, generator, 2 * padding + 1), _integers(images, generator, 2 * padding + 1)
    padded = torch.nn.functional.pad(images, (padding, padding, padding, padding))
    rows = (top + torch.arange(height, device=images.device)).view(batch, 1, height, 1)
    cols = (left + torch.arange(width, device=images.device)).view(batch, 1, 1, width)
    cut = padded.gather(2, rows.expand(batch, channels, height, padded.shape[3]))
    return cut.gather(3, cols.expand(batch, channels, height, width))


@AUGMENTATIONS.register(version=1)
def flip(
    images: Images, generator: Generator, *, probability: Annotated[float, Interval(ge=0, le=1)] = 0.5
) -> Images:
    """Mirror left and right, each image with the given probability."""
    drawn = torch.rand((len(images), 1, 1, 1), generator=generator, device=generator.device)
    return torch.where((drawn < probability).to(images.device), images.flip(-1), images)


@AUGMENTATIONS.register(version=1)
def cutout(images: Images, generator: Generator, *, size: Annotated[int, Ge(1)] = 8) -> Images:
    """Blank a square of `size` pixels centred anywhere in the image (DeVries & Taylor, arXiv:1708.04552)."""
    batch, _, height, width = images.shape
    top = _integers(images, generator, height) - size // 2
    left = _integers(images, generator, width) - size // 2
    rows, cols = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    in_rows = ((rows >= top) & (rows < top + size)).view(batch, 1, height, 1)
    in_cols = ((cols >= left) & (cols < left + size)).view(batch, 1, 1, width)
    return images.masked_fill(in_rows & in_cols, 0)


def _integers(images: Images, generator: Generator, high: int) -> Tensor:
    """(batch, 1) integers in [0, high), drawn where the generator is, wanted where the images are."""
    drawn = torch.randint(high, (len(images), 1), generator=generator, device=generator.device)
    return drawn.to(images.device)
