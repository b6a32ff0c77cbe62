"""How far a change inside a network can travel to its outputs, without running the changed network.

If one layer's output moves by `change`, every later coordinate moves by at most what the *absolute* network
makes of |change|; the rules of each step are in `propagation_rules`. The walk follows the graph that `torch.fx`
traces, so that branches and residual sums are handled; what has no rule is reported as a reason, never guessed.

A bound that is too small is a false certificate, so the walk also watches what a rule can not see: operands that
are used twice, tensors changed in place and read again, broadcasting, and operations that mix the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from rmt.in_place import is_in_place, names_read_again
from rmt.propagation_rules import (
    MONOTONE_FUNCTIONS,
    MONOTONE_METHODS,
    SLOPES,
    SUMS,
    TRANSPARENT,
    NoBound,
    Reach,
    slope_of,
    through,
)

# Tracing runs the model's own code on symbols: these are what such code raises when it looks at values.
UNTRACEABLE = (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError)
Observed = Mapping[fx.Node, Any]


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


def trace(model: nn.Module) -> fx.GraphModule:
    """Graph of a model in evaluation mode.

    Raises:
        NoBound: The model's code depends on values, so that it has no fixed graph.
    """
    try:
        return fx.symbolic_trace(model)
    except UNTRACEABLE as error:
        raise NoBound(f"the model has no fixed graph: {type(error).__name__}: {error}") from error


class _Observer(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor and the value of everything else."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.seen[n] = value.to("meta") if isinstance(value, Tensor) else value
        return value


def observe(graph: fx.GraphModule, batch: Tensor) -> tuple[Any, Observed]:
    """What a graph gives for a batch, (samples, ...), and what each of its nodes does.

    Returns:
        The output, and by node: tensors as their shapes (on the meta device), sizes as they are.
    """
    observer = _Observer(graph)
    output = observer.run(batch.clone())  # a model may change its input in place
    return output, observer.seen


def is_elementwise(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node applies one function to every coordinate, in evaluation mode."""
    if node.op == "call_module":
        layer = graph.get_submodule(str(node.target))
        return isinstance(layer, TRANSPARENT) or slope_of(layer) is not None
    return node.target in SLOPES


class _Walk:
    """One pass over a traced graph; reaches exist only for the nodes that the change comes to."""

    def __init__(self, graph: fx.GraphModule, layer: str, change: Tensor, observed: Observed) -> None:
        self.graph, self.layer, self.change, self.observed = graph, layer, change, observed
        self.samples = len(change)
        self.reached: dict[fx.Node, Reach] = {}

    def reach(self, node: fx.Node) -> Reach | None:
        """Reach of one node, or None when the change does not come here, or only its size does."""
        if node.op == "get_attr" and str(node.target).startswith(f"{self.layer}."):
            raise NoBound(f"the model reads {node.target} beside calling the layer")
        if node.op == "call_module" and node.target == self.layer:
            return self._checked(node, Reach(self.change, 1.0))
        if not any(source in self.reached for source in node.all_input_nodes):
            return None
        if not isinstance(self.observed[node], Tensor):
            self._check_plain(node)
            return None
        self._refuse_stale_reads(node)
        return self._checked(node, self._step(node))

    def _step(self, node: fx.Node) -> Reach:
        if node.op == "call_module":
            return through(self.graph.get_submodule(str(node.target)), self._only(node))
        if node.target in SUMS:
            return self._sum(node)
        if node.target is torch.cat:
            return self._cat(node)
        if node.target is functional.dropout:
            return self._dropout(node)
        if node.target in SLOPES:
            slope, source = SLOPES[node.target], self._only(node)
            return Reach(source.coordinates * slope, source.gain * slope)
        if node.target in MONOTONE_METHODS or node.target in MONOTONE_FUNCTIONS:
            self._refuse_mixing(node)
            source = self._only(node)
            return Reach(self._run(node), source.gain)
        raise NoBound(f"no propagation rule for {getattr(node.target, '__name__', node.target)}")

    def _check_plain(self, node: fx.Node) -> None:
        """Sizes and arithmetic on them, as in `x.view(x.size(0), -1)`: known, and the same before and after."""
        if any(isinstance(leaf, Tensor) for leaf in torch.utils._pytree.tree_leaves(self.observed[node])):
            raise NoBound(f"no propagation rule for {node.name}, which gives several tensors")

    def _only(self, node: fx.Node) -> Reach:
        """The one tensor that a step takes: its first argument."""
        tensors = [source for source in node.all_input_nodes if isinstance(self.observed[source], Tensor)]
        if len(tensors) != 1 or not node.args or node.args[0] is not tensors[0]:
            raise NoBound(f"no propagation rule for {node.name} of {len(tensors)} tensors")
        return self.reached[tensors[0]]

    def _sum(self, node: fx.Node) -> Reach:
        """|a ± b| ≤ |a| + |b|, an operand counted as often as it stands there; unreached ones add nothing."""
        operands = [*node.args, *node.kwargs.values()]
        if set(node.kwargs) - {"input", "other"} or len(operands) != 2:
            raise NoBound(f"no propagation rule for {node.name} with {sorted(node.kwargs)}")
        parts = [self.reached[part] for part in operands if isinstance(part, fx.Node) and part in self.reached]
        total = torch.zeros_like(self.observed[node], device=self.change.device, dtype=self.change.dtype)
        for part in parts:
            total = total + part.coordinates
        return Reach(total, sum(part.gain for part in parts))

    def _cat(self, node: fx.Node) -> Reach:
        """Side by side: each coordinate keeps its bound, one that the change does not reach has none."""
        return Reach(self._run(node), max(self.reached[n].gain for n in node.all_input_nodes if n in self.reached))

    def _dropout(self, node: fx.Node) -> Reach:
        """`functional.dropout` is on unless told otherwise, in evaluation mode too."""
        training = node.args[2] if len(node.args) > 2 else node.kwargs.get("training", True)
        if training is not False:
            raise NoBound("functional.dropout is active in evaluation mode: the logits are random")
        return self._only(node)

    def _refuse_stale_reads(self, node: fx.Node) -> None:
        """A tensor that is changed in place has another value where its old name is read later."""
        if not is_in_place(self.graph, node):
            return
        target = node.args[0]
        if not isinstance(target, fx.Node) or target not in self.reached:
            raise NoBound(f"{node.name} changes in place what the cut did not reach before")
        shrinks = is_elementwise(self.graph, node) and self._slope(node) <= 1
        if not shrinks and (again := names_read_again(self.graph, node)):
            raise NoBound(f"{node.name} changes {target.name} in place, and {again[0].name} reads it again")

    def _slope(self, node: fx.Node) -> float:
        if node.op == "call_module":
            layer = self.graph.get_submodule(str(node.target))
            return 1.0 if isinstance(layer, TRANSPARENT) else slope_of(layer) or float("inf")
        return SLOPES[node.target]

    def _refuse_mixing(self, node: fx.Node) -> None:
        """Samples come first, stay first, and are not averaged over: bounds are one a sample."""
        count = self.observed[node.all_input_nodes[0]].ndim
        name = getattr(node.target, "__name__", str(node.target))
        given = [*node.args[1:], *(value for key, value in node.kwargs.items() if key.startswith("dim"))]
        numbers = [int(n) % count for n in _flat(self._plain_value(value) for value in given)]
        mixed = name == "mean" and (not numbers or 0 in numbers)
        mixed |= name in ("transpose", "squeeze") and 0 in numbers
        mixed |= name == "permute" and (not numbers or numbers[0] != 0)
        if mixed:
            raise NoBound(f"{node.name} mixes or moves the samples of a batch")

    def _plain_value(self, value: Any) -> Any:
        return fx.map_arg(value, lambda source: self.observed[source])

    def _checked(self, node: fx.Node, reach: Reach) -> Reach:
        """The bound has the activation's own shape, samples first."""
        shape, found = tuple(self.observed[node].shape), tuple(reach.coordinates.shape)
        if shape != found or shape[:1] != (self.samples,):
            raise NoBound(f"{node.name} has shape {shape} for {self.samples} samples, its bound {found}")
        return reach

    def _run(self, node: fx.Node) -> Tensor:
        """The node's own operation, on the bounds in place of the activations."""

        def value(source: fx.Node) -> Any:
            if source in self.reached:
                return self.reached[source].coordinates
            seen = self.observed[source]
            return torch.zeros_like(seen, device=self.change.device) if isinstance(seen, Tensor) else seen

        args = fx.map_arg(node.args, value)
        kwargs = fx.map_arg(node.kwargs, value)
        if node.op == "call_method":
            result = getattr(args[0], str(node.target))(*args[1:], **kwargs)
        else:
            function: Callable[..., Any] = node.target  # type: ignore[assignment]
            result = function(*args, **kwargs)
        return torch.as_tensor(result)


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield value


def propagate(graph: fx.GraphModule, layer: str, change: Tensor, observed: Observed) -> Outcome:
    """Bound the logits' change when `layer`'s output moves by at most `change` (≥ 0, one batch).

    Args:
        graph: From `trace`, in evaluation mode.
        layer: Dotted name of a submodule that is called once.
        change: |change| of that layer's output, (samples, ...).
        observed: From `observe`, of a batch of as many samples.

    Raises:
        NoBound: A step has no rule, or the layer is called twice or never.
    """
    calls = [node for node in graph.graph.nodes if node.op == "call_module" and node.target == layer]
    if len(calls) != 1:
        raise NoBound(f"layer {layer!r} is called {len(calls)} times in the model's graph")
    walk = _Walk(graph, layer, change, observed)
    for node in graph.graph.nodes:
        if node.op == "output":
            return _outcome(graph, walk, node.args[0], layer)
        value = walk.reach(node)
        if value is not None:
            walk.reached[node] = value
    raise NoBound("the model's graph has no output")


def _outcome(graph: fx.GraphModule, walk: _Walk, logits: Any, layer: str) -> Outcome:
    reach = walk.reached.get(logits) if isinstance(logits, fx.Node) else None
    if reach is None:
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
