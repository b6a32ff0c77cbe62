"""The matrices of a module, or of a state dict without its module, and why the rest has none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from rmt.layers import LowRankConv2d, LowRankLinear
from rmt.matrices import Factors, Weight, shape_of
from rmt.module_layers import Place, places_of
from rmt.unreadable import why_left, why_no_matrix

KINDS = {2: "linear", 3: "conv1d", 4: "conv2d", 5: "conv3d"}
PROJECTIONS = ("q", "k", "v")


@dataclass(frozen=True)
class Candidate:
    """One layer as an analysis sees it.

    Attributes:
        name: Dotted name of the layer; a part of it (a projection, a group) after it in brackets.
        kind: "linear", "conv2d", "embedding", ...; of what has no matrix, its type.
        weight: Its matrix (rows, cols), or None.
        reason: Why there is no matrix; empty when there is one.
    """

    name: str
    kind: str
    weight: Weight | None
    reason: str = ""

    @property
    def shape(self) -> tuple[int, int] | None:
        """(rows, cols) of the matrix."""
        return None if self.weight is None else shape_of(self.weight)


def candidates_of(source: nn.Module | Mapping[str, Tensor]) -> list[Candidate]:
    """Every layer with parameters, in the module's order.

    Without the module, kinds are told from names and shapes: an embedding counts as a linear layer, and a grouped
    convolution as an ungrouped one.
    """
    if isinstance(source, nn.Module):
        return list(_of_module(source))
    return [found for name, weight in source.items() for found in _of_tensor(name, weight, source)]


def _of_module(module: nn.Module) -> Iterator[Candidate]:
    places: dict[str, list[Place]] = defaultdict(list)
    for place in places_of(module):
        places[place.part].append(place)
    for name, part in module.named_modules():
        for place in places[name]:
            yield Candidate(place.layer.name, place.layer.kind, place.read(module))
        own = [key for key, _ in part.named_parameters(recurse=False)]
        if own and not places[name]:
            kind = type(part).__name__
            yield Candidate(name or kind, kind, None, _why_none(kind, part, own))


def _why_none(kind: str, part: nn.Module, own: list[str]) -> str:
    reason = why_left(part)
    if reason:
        return reason
    if isinstance(part, LowRankLinear | LowRankConv2d):
        return "it shares a factor with another layer"
    if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding | nn.MultiheadAttention):
        return "it shares its weight with an earlier layer"
    return f"the parameters of a {kind} ({', '.join(own)}) are not analysed as matrices"


def _of_tensor(name: str, weight: Tensor, state: Mapping[str, Tensor]) -> Iterator[Candidate]:
    layer, _, last = name.rpartition(".")
    right = state.get(f"{name.removesuffix('left')}right") if last == "left" else None
    if right is not None:
        yield _of_factors(layer or name, weight, right)
    elif "weight" in last:
        shown = layer if last in ("weight", "in_proj_weight") and layer else name
        shape = tuple(weight.shape)
        reason = why_no_matrix(weight)
        if reason:
            yield Candidate(shown, KINDS.get(weight.ndim, "vector"), None, reason)
        elif weight.ndim not in KINDS:
            yield Candidate(shown, "vector", None, f"a weight of shape {shape} has no matrix")
        elif last == "in_proj_weight" and (weight.ndim != 2 or len(weight) % len(PROJECTIONS)):
            yield Candidate(shown, "projection", None, f"a weight of shape {shape} is not three projections")
        elif last == "in_proj_weight":
            for part, projection in zip(PROJECTIONS, weight.chunk(3), strict=True):
                yield Candidate(f"{shown}[{part}]", "projection", projection)
        else:
            yield Candidate(shown, KINDS[weight.ndim], weight.flatten(1))


def _of_factors(shown: str, left: Tensor, right: Tensor) -> Candidate:
    kind = KINDS.get(right.ndim, "linear")
    reason = why_no_matrix(left) or why_no_matrix(right)
    if not reason and (left.ndim != 2 or right.ndim not in (2, 4) or left.shape[1] != right.shape[0]):
        reason = f"left {tuple(left.shape)} and right {tuple(right.shape)} are not the factors of one matrix"
    return (
        Candidate(shown, kind, None, reason) if reason else Candidate(shown, kind, Factors(left, right.flatten(1)))
    )
