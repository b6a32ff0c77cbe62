"""A network's loss as a function of one flat vector of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from rmt.dense import dense_copy
from rmt.errors import InvalidOption, InvalidWeight

Loss = Callable[[Tensor, Tensor], Tensor]


class Objective:
    """Mean loss over fixed data, with the training penalty if given, at any point of parameter space.

    Attributes:
        vector: The module's own parameters, (parameters,); tied ones once, low-rank layers composed.
        shapes: Parameter names and shapes in the vector's order.
        buffers: Statistics of normalisation layers and the like.
    """

    def __init__(
        self,
        module: nn.Module,
        data: tuple[Tensor, Tensor],
        *,
        loss: Loss = functional.cross_entropy,
        l1: float = 0.0,
        l2: float = 0.0,
        batch_size: int = 5000,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Set the place and the data.

        Args:
            module: Any module from inputs to what `loss` takes. Not changed; evaluated without dropout.
            data: (inputs, targets), at least one sample; 2,000–5,000 training samples are usual.
            loss: Mean over a batch; cross-entropy by default.
            l1, l2: Weights of Σ|θ| and Σθ² over all parameters, ≥ 0.
            batch_size: Samples at once; results do not depend on it.
            dtype: Arithmetic; the module's own when None.

        Raises:
            InvalidOption: No samples, a different number of targets, or no parameters.
            InvalidWeight: A parameter is NaN or infinite: there is no loss around such a network.
        """
        inputs, targets = data
        if len(inputs) == 0 or len(inputs) != len(targets):
            raise InvalidOption(f"{len(inputs)} inputs and {len(targets)} targets; as many of both, at least one")
        self.module = dense_copy(module).eval()
        if dtype is not None:
            self.module = self.module.to(dtype)
            inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
        named = dict(self.module.named_parameters())
        if not named:
            raise InvalidOption("a module without parameters has no landscape")
        _check_finite(named)
        self.shapes = {name: parameter.shape for name, parameter in named.items()}
        self.buffers = dict(self.module.named_buffers())
        self.vector = torch.cat([parameter.detach().flatten() for parameter in named.values()])
        self._loss, self._l1, self._l2 = loss, l1, l2
        self._batches = list(zip(inputs.split(batch_size), targets.split(batch_size), strict=True))
        self._samples = len(inputs)

    def unflatten(self, vector: Float[Tensor, " parameters"]) -> dict[str, Tensor]:
        """The vector as named parameters (views)."""
        parts = vector.split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(self.shapes[name]) for name, part in zip(self.shapes, parts, strict=True)}

    def loss(
        self, vector: Float[Tensor, " parameters"] | None = None, buffers: Mapping[str, Tensor] | None = None
    ) -> float:
        """Value at a point; at the module's own parameters and buffers when None."""
        with torch.no_grad():
            point = self.vector if vector is None else vector
            return sum(float(self._term(point, index, buffers)) for index in range(len(self._batches)))

    def gradient(self, vector: Float[Tensor, " parameters"] | None = None) -> Float[Tensor, " parameters"]:
        """Gradient at a point, (parameters,)."""
        point = (self.vector if vector is None else vector).detach().requires_grad_()
        total = torch.zeros_like(self.vector)
        for index in range(len(self._batches)):
            total += torch.autograd.grad(self._term(point, index), point)[0]
        return total

    def hessian_product(self, other: Float[Tensor, " parameters"]) -> Float[Tensor, " parameters"]:
        """H v at the module's own parameters, by differentiating ⟨gradient, v⟩ once more."""
        total = torch.zeros_like(self.vector)
        for index in range(len(self._batches)):
            point, slope = self._graph if len(self._batches) == 1 else self._slope(index)
            if slope.requires_grad:  # a loss that is linear in the parameters has no second derivative
                product = torch.autograd.grad(slope @ other, point, retain_graph=True, materialize_grads=True)
                total += product[0]
        return total

    def _term(self, point: Tensor, index: int, buffers: Mapping[str, Tensor] | None = None) -> Tensor:
        """One batch's share of the objective; the penalty comes with the first."""
        inputs, targets = self._batches[index]
        state = {**self.unflatten(point), **(self.buffers if buffers is None else buffers)}
        output = functional_call(self.module, state, (inputs,))
        value = self._loss(output, targets) * (len(inputs) / self._samples)
        if index == 0 and self._l2:
            value = value + self._l2 * point.square().sum()
        if index == 0 and self._l1:
            value = value + self._l1 * point.abs().sum()
        return value

    def _slope(self, index: int) -> tuple[Tensor, Tensor]:
        point = self.vector.detach().requires_grad_()
        return point, torch.autograd.grad(self._term(point, index), point, create_graph=True)[0]

    @cached_property
    def _graph(self) -> tuple[Tensor, Tensor]:
        """The gradient's graph of a single batch, kept: each further product is then one backward pass."""
        return self._slope(0)


def _check_finite(named: Mapping[str, Tensor]) -> None:
    wrong = {name: int((~torch.isfinite(value)).sum()) for name, value in named.items()}
    found = {name: count for name, count in wrong.items() if count}
    if found:
        places = ", ".join(f"{count} in {name}" for name, count in found.items())
        raise InvalidWeight(f"the network has NaN or infinite parameters: {places}; it has no loss landscape")
