"""Stacked multilayer perceptrons, forward and backward written out.

Activations are (replicate, feature, example): the first layer, whose input all replicates share, is then a single
matrix product over the stacked weights, and its result is already laid out for the next. Writing the backward pass
out spares what autograd keeps and allocates; a test compares it with autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sweeps.stack import Tensors
from sweeps.stack_program import Gradient, Reading, Step, chunks, targets

aten = torch.ops.aten


class Activation(NamedTuple):
    """An elementwise function with its backward from gradient, argument and value."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(torch.relu, lambda d, before, after: aten.threshold_backward(d, after, 0)),
    nn.Tanh: Activation(torch.tanh, lambda d, before, after: aten.tanh_backward(d, after)),
    nn.GELU: Activation(nn.functional.gelu, lambda d, before, after: aten.gelu_backward(d, before)),
    nn.SiLU: Activation(nn.functional.silu, lambda d, before, after: aten.silu_backward(d, before)),
}


@dataclass(frozen=True)
class Linear:
    """A layer by name, dense or factored as the values have it."""

    name: str

    def forward(self, values: Tensors, inputs: Tensor) -> Tensor:
        """(in, example) or (replicate, in, example) to (replicate, out, example)."""
        bias = values.get(f"{self.name}.bias")
        if (weight := values.get(f"{self.name}.weight")) is not None:
            return _product(weight, inputs, bias)
        return _product(values[f"{self.name}.left"], self.inner(values, inputs), bias)

    def inner(self, values: Tensors, inputs: Tensor) -> Tensor:
        """What passes between the factors: (replicate, K, example)."""
        return _product(values[f"{self.name}.right"], inputs, None)

    def parts(self, values: Tensors, inputs: Tensor) -> list[tuple[str, Tensor]]:
        """The weights in the order of computation, each with its input."""
        if f"{self.name}.weight" in values:
            return [(f"{self.name}.weight", inputs)]
        return [(f"{self.name}.right", inputs), (f"{self.name}.left", self.inner(values, inputs))]


def _product(weight: Tensor, inputs: Tensor, bias: Tensor | None) -> Tensor:
    """weight @ inputs + bias; inputs without a replicate dimension are shared and make it one product."""
    if inputs.ndim == 3:
        return torch.bmm(weight, inputs) if bias is None else torch.baddbmm(bias.unsqueeze(-1), weight, inputs)
    rows = weight.flatten(0, 1)
    flat = rows @ inputs if bias is None else torch.addmm(bias.reshape(-1, 1), rows, inputs)
    return flat.unflatten(0, weight.shape[:2])


def _outer(d: Tensor, inputs: Tensor, places: slice) -> Tensor:
    """Sum over examples of d ⊗ inputs for some replicates: (replicate, out, in)."""
    d = d[places]
    if inputs.ndim == 3:
        return torch.bmm(d, inputs[places].mT)
    return (d.flatten(0, 1) @ inputs.mT).unflatten(0, d.shape[:2])


class Chain:
    """Program of a sequence of linear layers with elementwise activations between them."""

    def __init__(self, links: list[Linear | Activation], hidden_relus: set[int]) -> None:
        self._links = links
        self._hidden_relus = hidden_relus

    @classmethod
    def of(cls, module: nn.Module) -> Chain | None:
        """The chain that `module` is; None when it is something else."""
        if not isinstance(module, nn.Sequential) or not isinstance(next(iter(module), None), nn.Flatten):
            return None
        links: list[Linear | Activation] = []
        relus = set()
        for name, part in list(module.named_children())[1:]:
            if isinstance(part, nn.Linear):
                links.append(Linear(name))
            elif type(part) in ACTIVATIONS and links and getattr(part, "approximate", "none") == "none":
                relus |= {len(links)} if isinstance(part, nn.ReLU) else set()
                links.append(ACTIVATIONS[type(part)])
            else:
                return None
        return cls(links, relus - {len(links) - 1})

    def _trace(self, values: Tensors, inputs: Tensor) -> list[Tensor]:
        """The input, and what each link makes of it."""
        trace = [inputs.flatten(1).mT]
        for link in self._links:
            last = trace[-1]
            trace.append(link.forward(values, last) if isinstance(link, Linear) else link.forward(last))
        return trace

    def step(self, values: Tensors, buffers: Tensors, inputs: Tensor, labels: Tensor, smoothing: float) -> Step:
        """Losses and gradients on one batch."""
        trace = self._trace(values, inputs)
        logits = trace[-1]  # (replicate, class, example)
        hits = (logits.argmax(1) == labels).sum(-1)
        logs = torch.log_softmax(logits, 1)
        wanted = targets(labels, logits.shape[1], smoothing, logits.dtype)
        losses = (logs * wanted).sum((1, 2)).div_(-len(labels))
        d = logs.exp_().sub_(wanted).div_(len(labels))
        return Step(losses, hits, self._backward(values, trace, d))

    def _backward(self, values: Tensors, trace: list[Tensor], d: Tensor) -> Iterator[Gradient]:
        """Gradients from the last layer to the first; `d` is that of the logits.

        What goes on to the layer before is computed first: a weight may change once its gradient has been given.
        """
        for position in range(len(self._links) - 1, -1, -1):
            link, before, after = self._links[position], trace[position], trace.pop()
            if not isinstance(link, Linear):
                d = link.backward(d, before, after)
            else:
                if (bias := f"{link.name}.bias") in values:
                    yield Gradient(bias, slice(None), d.sum(-1))
                for name, inputs in reversed(link.parts(values, before)):
                    outer, weight = d, values[name]
                    if inputs.ndim == 3:
                        d = torch.bmm(weight.mT, outer)
                    for places in chunks(weight):
                        yield Gradient(name, places, _outer(outer, inputs, places))

    def read(self, values: Tensors, buffers: Tensors, inputs: Tensor) -> Reading:
        """Outputs without gradient."""
        trace = self._trace(values, inputs)
        active = [(trace[position + 1] > 0).any(-1) for position in sorted(self._hidden_relus)]
        return Reading(trace[-1].mT, active)
