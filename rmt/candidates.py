"""The matrices of a module, or of a state dict without its module, and why the rest has none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from rmt.matrices import Factors, Weight, shape_of
from rmt.module_layers import Place, places_of

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
    if is_parametrized(part):
        return "its weight is computed from others (parametrised)"
    if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding):
        return "it shares its weight with an earlier layer"
    return f"the parameters of a {kind} ({', '.join(own)}) are not analysed as matrices"


def _of_tensor(name: str, weight: Tensor, state: Mapping[str, Tensor]) -> Iterator[Candidate]:
    layer, _, last = name.rpartition(".")
    right = state.get(f"{layer}.right") if last == "left" else None
    if right is not None and weight.ndim == 2:
        yield Candidate(layer, KINDS.get(right.ndim, "linear"), Factors(weight, right.flatten(1)))
    elif last == "in_proj_weight":
        for part, projection in zip(PROJECTIONS, weight.chunk(3), strict=True):
            yield Candidate(f"{layer}[{part}]", "projection", projection)
    elif "weight" in last and weight.is_floating_point():
        shown = layer if last == "weight" and layer else name
        if weight.ndim in KINDS:
            yield Candidate(shown, KINDS[weight.ndim], weight.flatten(1))
        else:
            shape = tuple(weight.shape)
            yield Candidate(shown, "vector", None, f"a weight of shape {shape} has no matrix")
