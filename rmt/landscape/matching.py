"""Reorder one network's hidden units to be as close as possible to another's, its function unchanged.

Source: Ainsworth et al. 2023 (arXiv:2209.04836), Algorithm 1 (weight matching): for each hidden layer in turn
the permutation that maximises the inner product of the two networks' weights, a linear assignment.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from rmt.dense import dense_copy
from rmt.errors import InvalidOption
from rmt.propagation import is_elementwise, trace
from rmt.propagation_rules import NoBound


class NotAnMlp(InvalidOption):
    """Hidden units can not be permuted: the network is not a chain of linear layers."""


def linear_chain(module: nn.Module) -> list[str]:
    """Names of the linear layers of an MLP in the order they run.

    Raises:
        NotAnMlp: Something between the first and the last linear layer is no elementwise activation, or the
            graph branches.
    """
    try:
        graph = trace(module)
    except NoBound as error:
        raise NotAnMlp(str(error)) from error
    nodes = [node for node in graph.graph.nodes if node.op not in {"placeholder", "output"}]
    linear = [
        node
        for node in nodes
        if node.op == "call_module" and isinstance(module.get_submodule(node.target), nn.Linear)
    ]
    if len(linear) < 2:
        raise NotAnMlp(f"{len(linear)} linear layers; at least two are needed to have hidden units")
    hidden = nodes[nodes.index(linear[0]) : nodes.index(linear[-1])]
    for node in hidden:
        if node not in linear and not is_elementwise(graph, node):
            raise NotAnMlp(f"{node.target} between linear layers is no elementwise activation")
    for node, following in itertools.pairwise([*hidden, linear[-1]]):
        if list(node.users) != [following]:
            raise NotAnMlp(f"the network branches at {node.name}")
    names = [str(node.target) for node in linear]
    others = {name for name, _ in module.named_parameters()} - {
        f"{n}.{p}" for n in names for p in ("weight", "bias")
    }
    if others or len(names) != len(set(names)):
        raise NotAnMlp(f"parameters outside the chain: {', '.join(sorted(others)) or 'a layer is used twice'}")
    return names


def match_neurons(reference: nn.Module, module: nn.Module, *, seed: int = 0, sweeps: int = 50) -> nn.Module:
    """A copy of `module` (an MLP) with its hidden units reordered towards `reference`.

    Args:
        reference: An MLP of the same widths; low-rank layers count as their products.
        module: The one to reorder. Not changed.
        seed: Of the order in which layers are visited.
        sweeps: Most passes over the layers.

    Raises:
        NotAnMlp: The network is not a chain of linear layers.
        InvalidOption: The widths differ.
    """
    target, moved = dense_copy(reference), dense_copy(module)
    names = linear_chain(moved)
    theirs = [_layer(target, name) for name in linear_chain(target)]
    ours = [_layer(moved, name) for name in names]
    if [layer.weight.shape for layer in theirs] != [layer.weight.shape for layer in ours]:
        raise InvalidOption("the two networks have different widths")
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for _ in range(sweeps):
            order = generator.permutation(len(ours) - 1)
            if sum(_improve(theirs, ours, int(k)) for k in order) == 0:  # every layer gets its turn
                break
    return moved


def _layer(module: nn.Module, name: str) -> nn.Linear:
    layer = module.get_submodule(name)
    if not isinstance(layer, nn.Linear):
        raise NotAnMlp(f"{name} is no linear layer")
    return layer


def _improve(theirs: list[nn.Linear], ours: list[nn.Linear], k: int) -> bool:
    """Reorder the outputs of layer k; False when the order was already the best."""
    from scipy.optimize import linear_sum_assignment  # it takes a third of a second to import

    gain = theirs[k].weight @ ours[k].weight.T + theirs[k + 1].weight.T @ ours[k + 1].weight
    if theirs[k].bias is not None and ours[k].bias is not None:
        gain = gain + torch.outer(theirs[k].bias, ours[k].bias)
    values = gain.double().cpu().numpy()
    _, order = linear_sum_assignment(values, maximize=True)
    better = values[np.arange(len(order)), order].sum() - values.trace()
    if better <= 1e-9 * np.abs(values).sum():
        return False
    _reorder(ours[k], ours[k + 1], torch.as_tensor(order, device=gain.device))
    return True


def _reorder(layer: nn.Linear, following: nn.Linear, order: Tensor) -> None:
    layer.weight.copy_(layer.weight[order])
    if layer.bias is not None:
        layer.bias.copy_(layer.bias[order])
    following.weight.copy_(following.weight[:, order])
