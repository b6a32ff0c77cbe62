"""How far a change inside a network can travel to its outputs, without running the changed network.

If one layer's output moves by `change`, every later coordinate moves by at most what the *absolute* network
makes of |change|: a linear map with |weights| and no bias, an elementwise activation times its Lipschitz
constant, a pooling as it is (SCIENCE §3, tier c). The same walk multiplies operator norms to one factor, the
`gain` of ℓ∞ (tier d). Both need weights only. The walk follows the graph that `torch.fx` traces, so that
branches and residual sums are handled; what has no rule is reported as a reason, never guessed.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Largest slope of x Φ(x), reached at √2, and of x sigmoid(x), reached at 2.3994; rounded up.
GELU_SLOPE, SILU_SLOPE = 1.12891, 1.09985
# Tracing runs the model's own code on symbols: these are what such code raises when it looks at values.
UNTRACEABLE = (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError)


class NoBound(Exception):
    """A step of the network without a propagation rule; the message is the reason shown to the user."""


@dataclass(frozen=True)
class Reach:
    """Bounds at one point of the graph.

    Attributes:
        coordinates: Upper bound of |change|, shape of the activation there, (samples, ...).
        gain: Factor by which the ℓ∞ norm of the change at the layer can have grown on the way.
    """

    coordinates: Tensor
    gain: float


@dataclass(frozen=True)
class Outcome:
    """What arrives at the logits.

    Attributes:
        reach: Bounds at the logits.
        head: The linear layer that makes the logits, or None when the changed layer makes them itself.
        before_head: |change| bound at the head's input, (samples, features), or at the logits without a head.
        head_reason: Why there is no pairwise bound; empty when there is one.
    """

    reach: Reach
    head: nn.Linear | None
    before_head: Tensor
    head_reason: str


def with_weight(layer: nn.Module, weight: Tensor) -> nn.Module:
    """The linear part of a Linear or Conv layer with other weights: same geometry, no bias."""
    twin = copy.deepcopy(layer)
    twin.weight = nn.Parameter(weight, requires_grad=False)
    twin.register_parameter("bias", None)
    return twin


def _linear(layer: Any, reach: Reach) -> Reach:
    size = layer.weight.detach().abs()
    gain = float(size.flatten(1).sum(1).max())
    return Reach(with_weight(layer, size)(reach.coordinates), reach.gain * gain)


def _normalisation(layer: Any, reach: Reach) -> Reach:
    if layer.running_var is None:
        raise NoBound(f"{type(layer).__name__} without running statistics mixes the samples of a batch")
    scale = (layer.running_var + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight.detach().abs()
    shape = (1, -1, *[1] * (reach.coordinates.ndim - 2))
    return Reach(reach.coordinates * scale.view(shape), reach.gain * float(scale.max()))


def _slope(layer: nn.Module) -> float | None:
    """Lipschitz constant of an elementwise activation module, or None when it is not a known one."""
    match layer:
        case nn.LeakyReLU():
            return max(1.0, abs(layer.negative_slope))
        case nn.ELU():
            return max(1.0, layer.alpha)
        case nn.Sigmoid():
            return 0.25
        case nn.GELU(approximate="none"):
            return GELU_SLOPE
        case nn.SiLU():
            return SILU_SLOPE
        case nn.ReLU() | nn.ReLU6() | nn.Hardtanh() | nn.Tanh() | nn.Softplus() | nn.Softsign() | nn.CELU():
            return 1.0
        case _:
            return None


TRANSPARENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
# Linear with non-negative weights that sum to at most one, or a maximum: the operation applied to |change|
# bounds the change of its result.
MONOTONE = (
    *(nn.Flatten, nn.Unflatten, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)
MONOTONE_FUNCTIONS = {
    *(
        torch.flatten,
        torch.reshape,
        torch.mean,
        functional.max_pool1d,
        functional.max_pool2d,
        functional.max_pool3d,
    ),
    *(functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d),
}
MONOTONE_METHODS = {"flatten", "view", "reshape", "mean", "contiguous", "permute", "transpose", "squeeze"}
SHAPE_METHODS = {"size", "dim"}
SLOPES: dict[Any, float] = {
    **dict.fromkeys(
        (functional.relu, torch.relu, functional.relu6, torch.tanh, functional.tanh, "relu", "relu_", "tanh"),
        1.0,
    ),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, "sigmoid"), 0.25),
    functional.silu: SILU_SLOPE,
}
SUMS = {operator.add, operator.sub, operator.iadd, operator.isub, torch.add, torch.sub, "add", "sub", "add_"}


def through(layer: nn.Module, reach: Reach) -> Reach:
    """Bounds behind one module.

    Raises:
        NoBound: There is no rule for this kind of module.
    """
    if isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
        return _linear(layer, reach)
    if isinstance(layer, NORMALISATIONS):
        return _normalisation(layer, reach)
    if isinstance(layer, TRANSPARENT):
        return reach
    if isinstance(layer, MONOTONE) or (
        isinstance(layer, nn.AvgPool2d | nn.AvgPool3d) and layer.divisor_override is None
    ):
        return Reach(layer(reach.coordinates), reach.gain)
    slope = _slope(layer)
    if slope is None:
        raise NoBound(f"no propagation rule for {type(layer).__name__}")
    return Reach(reach.coordinates * slope, reach.gain * slope)


def _sum(parts: list[Reach]) -> Reach:
    """|a ± b| ≤ |a| + |b|; an operand that the change does not reach adds nothing."""
    total = parts[0].coordinates
    for part in parts[1:]:
        total = total + part.coordinates
    return Reach(total, sum(part.gain for part in parts))


def is_elementwise(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node applies one function to every coordinate, in evaluation mode."""
    if node.op == "call_module":
        layer = graph.get_submodule(str(node.target))
        return isinstance(layer, TRANSPARENT) or _slope(layer) is not None
    return node.target in SLOPES


class _Walk:
    """One pass over a traced graph; values exist only for the nodes that the change reaches."""

    def __init__(self, graph: fx.GraphModule, layer: str, change: Tensor) -> None:
        self.graph, self.layer, self.change = graph, layer, change
        self.reached: dict[fx.Node, Any] = {}

    def reach(self, node: fx.Node) -> Any:
        """Reach of one node, a plain value such as a size, or None when the change does not come here."""
        if node.op == "call_module" and node.target == self.layer:
            return Reach(self.change, 1.0)
        sources = [source for source in node.all_input_nodes if source in self.reached]
        if not sources:
            return None
        if node.op == "call_module":
            return through(self.graph.get_submodule(str(node.target)), self.reached[sources[0]])
        return self._function(node, [self.reached[source] for source in sources])

    def _function(self, node: fx.Node, inputs: list[Any]) -> Any:
        target = node.target
        if not all(isinstance(value, Reach) for value in inputs) and not self._is_monotone(node):
            return self._size(node)
        if target in SUMS and not set(node.kwargs) & {"alpha"}:
            return _sum(inputs)
        if target is functional.dropout:
            return self._dropout(node, inputs[0])
        if target in SLOPES and len(inputs) == 1:
            return Reach(inputs[0].coordinates * SLOPES[target], inputs[0].gain * SLOPES[target])
        if target is torch.cat or target in SHAPE_METHODS or target is getattr or self._is_monotone(node):
            return self._apply(node, inputs)
        raise NoBound(f"no propagation rule for {getattr(target, '__name__', target)}")

    def _is_monotone(self, node: fx.Node) -> bool:
        return node.target in MONOTONE_METHODS or node.target in MONOTONE_FUNCTIONS

    def _size(self, node: fx.Node) -> Any:
        """Arithmetic on sizes, as in `x.view(x.size(0), -1)`."""
        result = self._run(node)
        if isinstance(result, Tensor):
            raise NoBound(f"no propagation rule for {node.name} of an activation and a size")
        return result

    def _dropout(self, node: fx.Node, reach: Reach) -> Reach:
        """`functional.dropout` is on unless told otherwise, in evaluation mode too."""
        training = node.args[2] if len(node.args) > 2 else node.kwargs.get("training", True)
        if training is not False:
            raise NoBound("functional.dropout is active in evaluation mode: the logits are random")
        return reach

    def _apply(self, node: fx.Node, inputs: list[Any]) -> Any:
        if node.target is torch.cat and len(inputs) != len(node.all_input_nodes):
            raise NoBound("cat of changed and unchanged branches")
        result = self._run(node)
        if not isinstance(result, Tensor):
            return result
        return Reach(result, max(value.gain for value in inputs if isinstance(value, Reach)))

    def _run(self, node: fx.Node) -> Any:
        """The node's own operation, on the bounds in place of the activations."""

        def value(source: fx.Node) -> Any:
            known = self.reached.get(source)
            return known.coordinates if isinstance(known, Reach) else known

        args = fx.map_arg(node.args, value)
        kwargs = fx.map_arg(node.kwargs, value)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        function: Callable[..., Any] = node.target  # type: ignore[assignment]
        return function(*args, **kwargs)


def trace(model: nn.Module) -> fx.GraphModule:
    """Graph of a model in evaluation mode.

    Raises:
        NoBound: The model's code depends on values, so that it has no fixed graph.
    """
    try:
        return fx.symbolic_trace(model)
    except UNTRACEABLE as error:
        raise NoBound(f"the model has no fixed graph: {type(error).__name__}: {error}") from error


def propagate(graph: fx.GraphModule, layer: str, change: Tensor) -> Outcome:
    """Bound the logits' change when `layer`'s output moves by at most `change` (≥ 0, one batch).

    Args:
        graph: From `trace`, in evaluation mode.
        layer: Dotted name of a submodule that is called once.
        change: |change| of that layer's output, (samples, ...).

    Raises:
        NoBound: A step has no rule, or the layer is called twice or never.
    """
    calls = [node for node in graph.graph.nodes if node.op == "call_module" and node.target == layer]
    if len(calls) != 1:
        raise NoBound(f"layer {layer!r} is called {len(calls)} times in the model's graph")
    walk = _Walk(graph, layer, change)
    for node in graph.graph.nodes:
        if node.op == "output":
            return _outcome(graph, walk, node.args[0], layer)
        value = walk.reach(node)
        if value is not None:
            walk.reached[node] = value
    raise NoBound("the model's graph has no output")


def _outcome(graph: fx.GraphModule, walk: _Walk, logits: Any, layer: str) -> Outcome:
    reach = walk.reached.get(logits) if isinstance(logits, fx.Node) else None
    if not isinstance(reach, Reach):
        raise NoBound("the model's output is not one tensor that the layer reaches")
    node = logits
    while node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), TRANSPARENT):
        node = node.all_input_nodes[0]
    if node.op == "call_module" and node.target == layer:
        return Outcome(reach, None, reach.coordinates, "")
    head = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    if not isinstance(head, nn.Linear):
        what = type(head).__name__ if head is not None else node.name
        return Outcome(reach, None, reach.coordinates, f"the logits come from {what}, not from a linear layer")
    return Outcome(reach, head, walk.reached[node.all_input_nodes[0]].coordinates, "")
