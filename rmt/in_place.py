"""Which steps of a traced graph change a tensor in place, and who reads the changed tensor by an older name."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from rmt.propagation_rules import CONVOLUTIONS, NORMALISATIONS, SLOPES, SUMS, slope_of

IN_PLACE_OPERATORS = {operator.iadd, operator.isub, operator.imul, operator.itruediv}
NEW_TENSOR = (nn.Linear, *CONVOLUTIONS, *NORMALISATIONS)
NEW_FUNCTIONS = {*SUMS, *SLOPES, torch.cat, torch.mean, "mean"}


def is_in_place(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a step writes into its first argument."""
    if node.op == "call_module":
        return bool(getattr(graph.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = getattr(node.target, "__name__", str(node.target))
    by_name = name.endswith("_") and not name.endswith("__")
    flags = [*node.args[1:2]] if node.target is not functional.dropout else [*node.args[3:4]]
    return (
        node.target in IN_PLACE_OPERATORS
        or by_name
        or any(flag is True for flag in flags)
        or bool(node.kwargs.get("inplace", False))
    )


def names_read_again(graph: fx.GraphModule, node: fx.Node) -> list[fx.Node]:
    """Steps after an in-place `node` that read its first argument by an older name, or a view of it.

    Whatever is not known to make a new tensor counts as a view.
    """
    order = {each: position for position, each in enumerate(graph.graph.nodes)}
    root: Any = node.args[0]
    while _may_alias(graph, root) and root.all_input_nodes:
        root = root.all_input_nodes[0]
    family = {root}
    for each in graph.graph.nodes:
        if order[root] < order[each] < order[node] and _may_alias(graph, each):
            family |= {each} if family & set(each.all_input_nodes[:1]) else set()
    later = {user for member in family for user in member.users if order[user] > order[node]}
    return sorted(later, key=order.__getitem__)


def _may_alias(graph: fx.GraphModule, node: fx.Node) -> bool:
    if is_in_place(graph, node):
        return True
    if node.op == "call_module":
        layer = graph.get_submodule(str(node.target))
        return not isinstance(layer, NEW_TENSOR) and slope_of(layer) is None
    return node.op in ("call_function", "call_method") and node.target not in NEW_FUNCTIONS
