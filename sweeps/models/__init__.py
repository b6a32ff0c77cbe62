"""Architectures: each is a function from the data's shape to an ordinary torch module.

Positional: `shape` (channels, height, width) of one example and `classes`, the number of outputs. Keyword-only:
what a spec may choose. The module is built without drawing anything that lasts: `sweeps.initialisations` draws
every parameter anew from a replicate's own generator. Module names are layer names in tables and overrides.

Traits: `stackable` says whether replicates can train as one stack, `None` leaves it to the module that is built;
`small` holds options of a network small enough for the contract tests, `any_size` says that no image is too small.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from rmt.registry import Registry
from sweeps.errors import SweepError

if TYPE_CHECKING:
    from sweeps.trial_spec import Model

Shape: TypeAlias = tuple[int, int, int]
Architecture: TypeAlias = Callable[..., nn.Module]

REHEARSED_PARAMETERS = 2_000_000
"""Of a network that is small enough to compute with where only shapes are asked for."""

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


@contextmanager
def rehearsal(model: Model, shape: Shape, classes: int) -> Iterator[nn.Module]:
    """The module of a spec's `model`, to push an example or two through: make these in the body, where it is.

    A large one is without memory and computes shapes only. A small one computes: that takes milliseconds, and
    shapes only the import of torch's compiler, two seconds in every process that asks.

    Raises:
        ArchitectureMismatch: It does not fit the shape or the number of classes.
    """
    with torch.device("meta"):
        module = build(model, shape, classes)
        if sum(parameter.numel() for parameter in module.parameters()) > REHEARSED_PARAMETERS:
            yield module
            return
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        yield build(model, shape, classes)


def check(model: Model, shape: Shape, classes: int) -> None:
    """Build the architecture and push two examples through it.

    Raises:
        ArchitectureMismatch: It does not fit; the message says what the data's shape is and what went wrong.
    """
    with rehearsal(model, shape, classes) as module:
        for is_training in (False, True):
            try:
                outputs = module.train(is_training)(torch.empty(2, *shape))
            except (ValueError, RuntimeError) as error:
                raise ArchitectureMismatch(
                    f"model {model.kind} does not fit {_about(shape, classes)}: {error}"
                ) from error
            if not isinstance(outputs, Tensor) or outputs.shape != (2, classes):
                found = tuple(outputs.shape[1:]) if isinstance(outputs, Tensor) else type(outputs).__name__
                raise ArchitectureMismatch(
                    f"model {model.kind} gives {found} for {_about(shape, classes)}; ({classes},) is needed"
                )


def learns_from_one(model: Model, shape: Shape, classes: int) -> bool:
    """Whether a batch of one example can be trained on: normalising over it alone needs several positions."""
    with rehearsal(model, shape, classes) as module:
        try:
            module.train()(torch.empty(1, *shape))
        except ValueError:  # what torch's batch normalisation raises; the shape was checked with two examples
            return False
    return True


def stackable(module: nn.Module) -> bool:
    """Whether replicates of this module can train as one stack.

    Batch normalisation changes its running statistics in place, which a batched call over replicates can not do:
    such modules train one replicate at a time.
    """
    return not any(isinstance(part, nn.modules.batchnorm._NormBase) for part in module.modules())


def may_stack_badly(module: nn.Module, device: str) -> bool:
    """Whether only a measurement can tell if a stack of this module is slower than its replicates one by one.

    Stacked convolutions are grouped ones, which a CPU may compute at half the speed (benchmarks/training.py);
    non-overlapping patches are matrix products and do no harm.
    """
    overlaps = any(
        isinstance(part, nn.modules.conv._ConvNd) and part.kernel_size != part.stride for part in module.modules()
    )
    return stackable(module) and overlaps and torch.device(device).type == "cpu"


def stacks_well(module: nn.Module, device: str) -> bool:
    """Whether to stack replicates of this module where nothing was measured."""
    return stackable(module) and not may_stack_badly(module, device)


def draws(module: nn.Module) -> bool:
    """Whether the module draws random numbers while it trains: dropout, or whole layers left out."""
    drawing: tuple[Any, ...] = (nn.modules.dropout._DropoutNd,)
    if "torchvision.ops" in sys.modules:  # no layer of it is there before that, and it takes seconds to import
        drawing += (sys.modules["torchvision.ops"].StochasticDepth,)
    return any(isinstance(part, drawing) and part.p > 0 for part in module.modules())


def _about(shape: Shape, classes: int) -> str:
    return f"examples of shape {'x'.join(map(str, shape))} in {classes} classes"


for _module in ("mlp", "convolutional", "residual", "transformer", "vision"):
    importlib.import_module(f"{__name__}.{_module}")
