"""Architectures: each is a function from the data's shape to an ordinary torch module.

Positional: `shape` (channels, height, width) of one example and `classes`, the number of outputs. Keyword-only:
what a spec may choose. The module is built without drawing anything that lasts: `sweeps.initialisations` draws
every parameter anew from a replicate's own generator. Module names are layer names in tables and overrides.

Traits: `stackable` says whether replicates can train as one stack; `None` leaves it to the module that is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import nn

from rmt.registry import Registry
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.trial_spec import Model

Shape: TypeAlias = tuple[int, int, int]
Architecture: TypeAlias = Callable[..., nn.Module]

ARCHITECTURES: Registry[Architecture] = Registry("architecture")


class ArchitectureMismatch(SweepError, ValueError):
    """An architecture that can not be built for, or fed with, data of this shape."""


def build(model: Model, shape: Shape, classes: int) -> nn.Module:
    """The module of a spec's `model` for examples of `shape`.

    Raises:
        ArchitectureMismatch: It does not fit the shape or the number of classes.
    """
    try:
        return ARCHITECTURES[model.kind].function(tuple(shape), classes, **model.options)
    except (ValueError, RuntimeError) as error:
        raise ArchitectureMismatch(f"model {model.kind} does not fit {_about(shape, classes)}: {error}") from error


def check(model: Model, shape: Shape, classes: int) -> None:
    """Build the architecture without memory and push two examples through it.

    Raises:
        ArchitectureMismatch: It does not fit; the message says what the data's shape is and what went wrong.
    """
    with torch.device("meta"):
        module = build(model, shape, classes).eval()
        try:
            outputs = module(torch.empty(2, *shape))
        except (ValueError, RuntimeError) as error:
            raise ArchitectureMismatch(
                f"model {model.kind} does not fit {_about(shape, classes)}: {error}"
            ) from error
    if tuple(outputs.shape) != (2, classes):
        raise ArchitectureMismatch(
            f"model {model.kind} gives outputs of shape {tuple(outputs.shape[1:])} for {_about(shape, classes)}; "
            f"({classes},) is needed"
        )


def stackable(module: nn.Module) -> bool:
    """Whether replicates of this module can train as one stack.

    Batch normalisation keeps running statistics and dropout draws from the process's generator: both tie a
    replicate to the batch it is computed in, so such modules train one replicate at a time.
    """
    return not any(
        isinstance(part, nn.modules.batchnorm._BatchNorm)
        or (isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0)
        for part in module.modules()
    )


def _about(shape: Shape, classes: int) -> str:
    return f"examples of shape {'x'.join(map(str, shape))} in {classes} classes"


for _module in ("mlp",):
    importlib.import_module(f"{__name__}.{_module}")
