"""Optimisers and learning-rate schedules.

An optimiser is a function from a spec's options to an `Optimiser`: one update of one parameter, elementwise, so
that a stack of replicates is updated like a single one and zero padding stays zero. Penalties are not its concern:
the training adds their gradient before (the paper's loss; only AdamW decays weights itself).

A schedule is a function from the epochs done (a real number, so that warm-up is smooth) and the epochs in all to a
factor of the optimiser's learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol, TypeAlias

import torch
from annotated_types import Ge, Gt, Interval, Lt
from torch import Tensor

from rmt.registry import Registry

Rate: TypeAlias = Annotated[float, Gt(0)]
Decay: TypeAlias = Annotated[float, Ge(0), Lt(1)]


class Optimiser(Protocol):
    """One update rule."""

    @property
    def lr(self) -> float:
        """Learning rate before the schedule."""
        ...

    @property
    def slots(self) -> Mapping[str, int]:
        """Tensors of a parameter's shape that it keeps between steps, by name.

        The value is the power of the gradient each is a mean of: what carries it through a factorisation.
        """
        ...

    def update(self, value: Tensor, gradient: Tensor, slots: Sequence[Tensor], *, rate: float, step: int) -> None:
        """Change `value` and `slots` in place; `gradient` may be overwritten. `step` counts from 1."""
        ...


OPTIMISERS: Registry[Callable[..., Optimiser]] = Registry("optimiser")
SCHEDULES: Registry[Callable[..., float]] = Registry("learning-rate schedule")


@dataclass(frozen=True)
class _Sgd:
    lr: float
    momentum: float
    nesterov: bool

    @property
    def slots(self) -> Mapping[str, int]:
        return {"momentum": 1} if self.momentum else {}

    def update(self, value: Tensor, gradient: Tensor, slots: Sequence[Tensor], *, rate: float, step: int) -> None:
        if slots:
            (mean,) = slots
            torch.add(gradient, mean, alpha=self.momentum, out=mean)
            gradient = gradient.add_(mean, alpha=self.momentum) if self.nesterov else mean
        value.add_(gradient, alpha=-rate)


@OPTIMISERS.register(version=1)
def sgd(*, lr: Rate = 0.02, momentum: Decay = 0.9, nesterov: bool = False) -> Optimiser:
    """Stochastic gradient descent: m ← momentum · m + g, θ ← θ − lr · m (Nesterov: g + momentum · m)."""
    return _Sgd(lr, momentum, nesterov)


@dataclass(frozen=True)
class _Adam:
    lr: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float = 0.0
    slots: Mapping[str, int] = field(default_factory=lambda: {"mean": 1, "square": 2})

    def update(self, value: Tensor, gradient: Tensor, slots: Sequence[Tensor], *, rate: float, step: int) -> None:
        mean, square = slots
        if self.weight_decay:
            value.mul_(1 - rate * self.weight_decay)
        mean.lerp_(gradient, 1 - self.beta1)
        square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        unbiased = math.sqrt(1 - self.beta2**step)
        scale = torch.sqrt(square, out=gradient).div_(unbiased).add_(self.epsilon)
        value.addcdiv_(mean, scale, value=-rate / (1 - self.beta1**step))


@OPTIMISERS.register(version=1)
def adam(
    *, lr: Rate = 0.001, beta1: Decay = 0.9, beta2: Decay = 0.999, epsilon: Annotated[float, Gt(0)] = 1e-8
) -> Optimiser:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1)."""
    return _Adam(lr, beta1, beta2, epsilon)


@OPTIMISERS.register(version=1)
def adamw(
    *,
    lr: Rate = 0.001,
    beta1: Decay = 0.9,
    beta2: Decay = 0.999,
    epsilon: Annotated[float, Gt(0)] = 1e-8,
    weight_decay: Annotated[float, Ge(0)] = 0.01,
) -> Optimiser:
    """Adam with decoupled decay θ ← (1 − lr · weight_decay) θ (Loshchilov and Hutter 2019, arXiv:1711.05101)."""
    return _Adam(lr, beta1, beta2, epsilon, weight_decay)


Warmup: TypeAlias = Annotated[float, Ge(0)]


def _warm(done: float, warmup: float) -> float:
    """Linear from 0 to 1 over the first `warmup` epochs."""
    return min(1.0, done / warmup) if warmup > 0 else 1.0


@SCHEDULES.register(version=1)
def constant(done: float, epochs: int, *, warmup: Warmup = 0.0) -> float:
    """The learning rate as it is, after `warmup` epochs of linear rise."""
    return _warm(done, warmup)


@SCHEDULES.register(version=1)
def step(
    done: float,
    epochs: int,
    *,
    factor: Annotated[float, Gt(0), Interval(le=1)] = 0.96,
    every: Annotated[int, Ge(1)] = 1,
    warmup: Warmup = 0.0,
) -> float:
    """Times `factor` after every `every` epochs."""
    return float(_warm(done, warmup) * factor ** (int(done) // every))


@SCHEDULES.register(version=1)
def cosine(
    done: float, epochs: int, *, floor: Annotated[float, Interval(ge=0, le=1)] = 0.0, warmup: Warmup = 0.0
) -> float:
    """Half a cosine from 1 down to `floor` at the last epoch (Loshchilov and Hutter 2017, arXiv:1608.03983)."""
    progress = max(0.0, done - warmup) / max(epochs - warmup, 1e-12)
    return _warm(done, warmup) * (floor + (1 - floor) * (1 + math.cos(math.pi * min(1.0, progress))) / 2)


@SCHEDULES.register(version=1)
def linear(
    done: float, epochs: int, *, floor: Annotated[float, Interval(ge=0, le=1)] = 0.0, warmup: Warmup = 0.0
) -> float:
    """A straight line from 1 down to `floor` at the last epoch."""
    progress = max(0.0, done - warmup) / max(epochs - warmup, 1e-12)
    return _warm(done, warmup) * (1 - (1 - floor) * min(1.0, progress))
