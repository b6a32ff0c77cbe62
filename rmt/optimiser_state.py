"""What an optimiser remembers, carried through a change of a layer's form.

With W = W₂ W₁ the gradients of the factors are G W₁ᵀ and W₂ᵀ G. A mean M of gradients of W therefore becomes
M W₁ᵀ and W₂ᵀ M, exactly. When factors become smaller ones, W₁′ = A W₁ and W₂′ = W₂ B, the same means become M₂ Aᵀ
and Bᵀ M₁. Means of squares have no such form: Adam's second moments start again, and its count of steps with them.
It is then where it would be had the projected mean been the one gradient it ever saw: keeping the first moment
next to an empty second one would make its next step a leap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rmt.errors import InvalidOption
from rmt.matrices import Factors, Weight

Carry = Literal["project", "reset"]
ADAM = {"step", "exp_avg", "exp_avg_sq"}
KNOWN_STATES = ({"momentum_buffer"}, ADAM, ADAM | {"max_exp_avg_sq"})


def project_momentum(momentum: Weight, before: Weight, after: Factors) -> Factors:
    """A mean of gradients for the factors that take a layer's place.

    Args:
        momentum: For the layer as it was: (rows, cols), or a pair like its factors.
        before: The layer as it was.
        after: The factors it becomes; from factors, in their row and column space, as truncation makes them.
    """
    if isinstance(momentum, Factors) and isinstance(before, Factors):
        double = torch.float64
        to_right = torch.linalg.lstsq(before.right.mT.to(double), after.right.mT.to(double)).solution
        to_left = torch.linalg.lstsq(before.left.to(double), after.left.to(double)).solution
        return Factors(
            momentum.left @ to_right.to(momentum.left.dtype), to_left.mT.to(momentum.right.dtype) @ momentum.right
        )
    if isinstance(momentum, Factors) or isinstance(before, Factors):
        raise TypeError("momentum and layer must have the same form, dense or factored")
    return Factors(momentum @ after.right.mT, after.left.mT @ momentum)


def carry_state(
    optimiser: Optimizer,
    old: Sequence[Tensor],
    new: Sequence[nn.Parameter],
    before: Weight,
    after: Weight,
    carry: Carry = "project",
) -> None:
    """Let an optimiser train a layer's new parameters in place of the old, with what it remembered projected.

    State whose meaning is not known, and that of factors that became dense again, is dropped: those parameters
    start afresh. `carry="reset"` drops everything the optimiser remembers of any parameter, as public code does by
    making a new one.

    Args:
        optimiser: Any `torch.optim` optimiser; changed in place. Parameters it does not train are not added.
        old: The layer's old parameters: its weight, or left and right.
        new: Its new ones, the same way.
        before: The layer's matrix as it was.
        after: As it is.

    Raises:
        InvalidOption: `carry` is neither.
    """
    check_carry(carry)
    if carry == "reset":
        optimiser.state.clear()
    if new[0] is old[0]:
        return
    group = _group_of(optimiser, old)
    states = [optimiser.state.pop(parameter, {}) for parameter in old]
    if group is not None:
        position = _position(group["params"], old[0])
        gone = {id(parameter) for parameter in old}
        group["params"][position:position] = list(new)
        group["params"] = [parameter for parameter in group["params"] if id(parameter) not in gone]
    if group is not None and isinstance(after, Factors) and all(set(state) in KNOWN_STATES for state in states):
        for name in set(states[0]):
            for parameter, slot in zip(new, _slot(name, states, before, after, group), strict=True):
                fitting = slot.reshape(parameter.shape) if isinstance(slot, Tensor) and slot.ndim else slot
                optimiser.state[parameter][name] = fitting


def check_carry(carry: str) -> None:
    """Refuse a name that is no way to carry an optimiser's state."""
    if carry not in get_args(Carry):
        raise InvalidOption(f"carry is {carry!r}; known: {', '.join(get_args(Carry))}")


def _slot(
    name: str, states: Sequence[Mapping[str, Any]], before: Weight, after: Factors, group: Mapping[str, Any]
) -> tuple[Any, Any]:
    """One kind of state for both factors."""
    values = [state[name] for state in states]
    if values[0] is None:
        return None, None
    if name == "step":
        return torch.ones_like(values[0]), torch.ones_like(values[0])
    if "step" not in states[0]:
        return _projected(name, states, before, after)
    first, second = group["betas"]
    # Adam's mean is its first moment over 1 − β₁ᵗ.
    seen = 1 - first ** float(states[0]["step"])
    mean = [part / seen for part in _projected("exp_avg", states, before, after)]
    if name == "exp_avg":
        return (1 - first) * mean[0], (1 - first) * mean[1]
    return (1 - second) * mean[0].square(), (1 - second) * mean[1].square()


def _projected(name: str, states: Sequence[Mapping[str, Any]], before: Weight, after: Factors) -> Factors:
    matrices = [state[name].flatten(1) for state in states]
    return project_momentum(Factors(*matrices) if len(matrices) == 2 else matrices[0], before, after)


def _group_of(optimiser: Optimizer, old: Sequence[Tensor]) -> dict[str, Any] | None:
    for group in optimiser.param_groups:
        if any(parameter is old[0] for parameter in group["params"]):
            return group
    return None


def _position(parameters: Sequence[Tensor], wanted: Tensor) -> int:
    return next(index for index, parameter in enumerate(parameters) if parameter is wanted)
