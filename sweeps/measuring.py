"""The measures a spec asks for, taken of one trained replicate."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rmt.layers import match_structure
from rmt.measures import MEASURES, LayerSubject, ModuleSubject, measure
from rmt.module_layers import matrices_of

# Always there, in the record's own files: it names what is recorded, not what is computed beside it.
RECORDED = "spectra"
EXAMPLES = 2000
Weights = Mapping[str, Tensor]


def known() -> list[str]:
    """Names that `measures` may list."""
    possible = [name for name in MEASURES if "previous" not in MEASURES[name].traits["needs"]]
    return sorted([RECORDED, *possible])


def compares_cuts(names: Iterable[str]) -> bool:
    """Whether any of the measures needs the network before and after a pruning."""
    return any("before" in MEASURES[name].traits["needs"] for name in names if name != RECORDED)


@dataclass(frozen=True)
class Measured:
    """Measures of one replicate.

    Attributes:
        network: Numbers of the whole network by name; parts of a measure as `measure.part`.
        layers: Numbers of each layer by the layer's name.
        seconds: What taking them took.
    """

    network: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seconds: float = 0.0

    def document(self, epoch: int) -> dict[str, Any]:
        """Plain values, as records hold what was taken at an epoch."""
        return {"epoch": epoch, **asdict(self)}

    @classmethod
    def from_document(cls, plain: Mapping[str, Any]) -> Measured:
        """Inverse of `document`."""
        return cls(plain["network"], plain["layers"], plain["seconds"])


def take(
    names: Iterable[str],
    dense: nn.Module,
    weights: Weights,
    *,
    inputs: Tensor,
    labels: Tensor,
    cut: tuple[Weights, Weights] | None = None,
) -> Measured:
    """Take measures of a replicate.

    Args:
        names: Of registered measures.
        dense: The architecture, unpruned; left as it is.
        weights: Of the replicate, factored layers as `NAME.left` and `NAME.right`.
        inputs: Examples to measure on; the first 2,000 are used, never of the test set.
        labels: Their classes.
        cut: Weights before and after the last pruning, for the measures that compare them.
    """
    began = time.perf_counter()
    chosen = [name for name in names if name != RECORDED]
    of_layers = [name for name in chosen if MEASURES[name].traits["of"] == "layer"]
    of_cuts = [name for name in chosen if "before" in MEASURES[name].traits["needs"]]
    of_network = [name for name in chosen if name not in {*of_layers, *of_cuts}]
    data: dict[str, Any] = {"inputs": inputs[:EXAMPLES], "labels": labels[:EXAMPLES]}
    found: dict[str, float | None] = {}
    if of_network:
        found |= measure(ModuleSubject(network(dense, weights), **data), of_network)
    if of_cuts and cut is not None:
        before, after = (network(dense, state) for state in cut)
        found |= measure(ModuleSubject(after, before=before, **data), of_cuts)
    matrices = matrices_of(network(dense, weights)) if of_layers else {}
    layers = {name: _numbers(measure(LayerSubject(matrix), of_layers)) for name, matrix in matrices.items()}
    return Measured(_numbers(found), layers, time.perf_counter() - began if chosen else 0.0)


def _numbers(found: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in found.items() if value is not None}


def network(dense: nn.Module, weights: Weights) -> nn.Module:
    """A replicate as an ordinary module with its low-rank layers, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):  # layers draw when they are made; nothing of it is used
        module = match_structure(copy.deepcopy(dense), weights)
    module.load_state_dict(dict(weights))
    first = next(iter(weights.values()))
    return module.to(first.device, first.dtype).eval()
