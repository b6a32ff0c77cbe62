"""Stacks of any module: its own forward pass, mapped over the replicate dimension, and autograd.

Under the map, a linear layer becomes one batched product and a convolution a grouped one. A stack of one is
computed without the map. What a module draws (dropout) comes from the process's generator, which the training
seeds for each step: the same draw for all replicates, like their data order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_map

from rmt import match_structure
from sweeps.stack import Stack, Tensors
from sweeps.stack_program import Gradient, Reading, Step, chunks

_Losses: TypeAlias = Callable[[Tensors, Tensors, Tensor, Tensor, float], tuple[Tensor, Tensor]]


class Modules:
    """Program of any module.

    Args:
        module: The unpruned network.
        stack: Whose factored layers the network is given; their widths do not matter.
        compiler: A backend of torch.compile for the steps; None computes them as they are written.
    """

    def __init__(self, module: nn.Module, stack: Stack, *, compiler: str | None = None) -> None:
        first = {name: value[0] for name, value in stack.values.items()}
        self._module = match_structure(copy.deepcopy(module), first)
        self._relus = [
            part
            for name, part in self._module.named_modules()
            if isinstance(part, nn.ReLU) and name != "output_activation"
        ]
        self._losses: _Losses = self._losses_and_hits
        if compiler is not None:
            self._losses = torch.compile(self._losses_and_hits, backend=compiler)

    def step(self, values: Tensors, buffers: Tensors, inputs: Tensor, labels: Tensor, smoothing: float) -> Step:
        """Losses and gradients on one batch."""
        self._module.train()
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        with torch.enable_grad():
            losses, hits = self._losses(leaves, buffers, inputs, labels, smoothing)
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), materialize_grads=True)
        return Step(losses.detach(), hits, _pieces(dict(zip(leaves, found, strict=True))))

    def _losses_and_hits(
        self, values: Tensors, buffers: Tensors, inputs: Tensor, labels: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """(replicate,) each."""

        def loss_of(values: Tensors, buffers: Tensors) -> tuple[Tensor, Tensor]:
            logits = self._call(values, buffers, inputs)
            hits = (logits.argmax(-1) == labels).sum()
            return cross_entropy(logits, labels, label_smoothing=smoothing), hits

        losses, hits = _each(loss_of, values, buffers)
        return losses, hits

    def read(self, values: Tensors, buffers: Tensors, inputs: Tensor) -> Reading:
        """Outputs without gradient, in evaluation mode."""
        self._module.eval()

        def outputs_of(values: Tensors, buffers: Tensors) -> tuple[Tensor, list[Tensor]]:
            with self._watched() as active:
                logits = self._call(values, buffers, inputs)
            return logits, active

        logits, active = _each(outputs_of, values, buffers)
        return Reading(logits, active)

    def _call(self, values: Tensors, buffers: Tensors, inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self._module, (values, buffers), (inputs,))
        return outputs

    @contextmanager
    def _watched(self) -> Iterator[list[Tensor]]:
        """A list that fills with what the hidden ReLUs activate: (unit,) each."""
        active: list[Tensor] = []

        def note(_module: nn.Module, _inputs: Any, outputs: Tensor) -> None:
            units = 1 if outputs.ndim in (2, 4) else outputs.ndim - 1  # tokens have their features last
            others = [dimension for dimension in range(outputs.ndim) if dimension != units]
            active.append(outputs.amax(others) > 0)

        handles = [part.register_forward_hook(note) for part in self._relus]
        try:
            yield active
        finally:
            for handle in handles:
                handle.remove()


def _each(function: Callable[[Tensors, Tensors], Any], values: Tensors, buffers: Tensors) -> Any:
    """The function's tensors for every replicate, stacked."""
    count = len(next(iter(values.values())))
    if count > 1:
        # Of the kinds of attention, only the one made of products can be mapped on a CPU.
        with sdpa_kernel(SDPBackend.MATH):
            return vmap(function, in_dims=(0, 0), randomness="same")(values, buffers)
    # Squeezed, not indexed: the way back of an index copies the gradient into zeros.
    results = function(
        {name: value.squeeze(0) for name, value in values.items()},
        {name: buffer.squeeze(0) for name, buffer in buffers.items()},
    )
    return tree_map(lambda tensor: tensor.unsqueeze(0), results)


def _pieces(gradients: Tensors) -> Iterator[Gradient]:
    for name, values in gradients.items():
        for places in chunks(values):
            yield Gradient(name, places, values[places])
