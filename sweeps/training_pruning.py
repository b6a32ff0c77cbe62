"""Pruning inside a training: from a stack's replicates to `rmt` and back, and the spectra on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import rmt
from rmt.errors import DegenerateSpectrum
from rmt.matrices import Weight
from rmt.module_layers import Place
from sweeps.stack import Replica
from sweeps.stack_slots import carry
from sweeps.trial_spec import TrialSpec


def pruner_of(spec: TrialSpec, layers: Sequence[rmt.Layer], total_parameters: int) -> rmt.Pruner | None:
    """The pruner that a spec describes; None when it prunes nothing."""
    if not spec.is_pruned:
        return None
    prune = spec.prune
    return rmt.Pruner(
        layers,
        rule=prune.rule,
        aggressiveness=prune.aggressiveness,
        options=prune.options,
        noise=prune.noise.model_dump(),
        gate=prune.gate.model_dump(),
        every=prune.every,
        start=prune.start,
        epochs=spec.training.epochs,
        overrides=[layer.model_dump(exclude_defaults=True) for layer in prune.layers],
        budget=prune.budget,
        total_parameters=total_parameters,
    )


def weight_of(replica: Replica, place: Place) -> Weight:
    """A layer's matrix as it is kept: dense as a view, or factors."""
    left, right = (replica.values.get(f"{place.part}.{side}") for side in ("left", "right"))
    if left is not None and right is not None:
        return rmt.Factors(left, right.flatten(1))
    return replica.values[key_of(place)].flatten(1)[place.rows]


def key_of(place: Place) -> str:
    """Name of the parameter that holds a dense layer's matrix."""
    return f"{place.part}.{place.parameter}"


@dataclass
class Spectra:
    """One replicate's spectra and fits, epoch by epoch.

    Attributes:
        values: Singular values under `LAYER/EPOCH/singular_values`.
        fits: A row a layer and epoch; edge and threshold are singular values.
    """

    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    fits: list[dict[str, Any]] = field(default_factory=list)

    def add(self, epoch: int, layer: rmt.Layer, values: Tensor, fit: rmt.NoiseFit | None, **rest: Any) -> None:
        """Keep one layer's spectrum."""
        self.values[f"{layer.name}/{epoch}/singular_values"] = values.cpu().numpy()
        about = {"layer": layer.name, "epoch": epoch, "rows": layer.rows, "cols": layer.cols}
        self.fits.append(about | _numbers(fit) | rest)

    def last(self, layer: str) -> dict[str, Any]:
        """The most recent row of a layer."""
        return next(row for row in reversed(self.fits) if row["layer"] == layer)

    def last_decision(self, layer: str) -> dict[str, Any]:
        """The most recent row of a layer that a pruning wrote; the most recent one if none did."""
        made = [row for row in self.fits if row["layer"] == layer and row["status"] != "measured"]
        return made[-1] if made else self.last(layer)


def _numbers(fit: rmt.NoiseFit | None) -> dict[str, float | int | None]:
    if fit is None:
        return dict.fromkeys(("live_rows", "live_cols", "variance", "edge", "threshold", "spikes", "distance"))
    return {
        "live_rows": fit.live_rows,
        "live_cols": fit.live_cols,
        "variance": fit.variance,
        "edge": fit.singular_edge,
        "threshold": fit.singular_threshold,
        "spikes": fit.spikes,
        "distance": fit.distance,
    }


def measure(replica: Replica, places: Sequence[Place], spec: TrialSpec, epoch: int, into: Spectra) -> None:
    """Add the spectra of all layers as they are, with the noise fit where one can be made; once an epoch."""
    if any(row["epoch"] == epoch and row["status"] == "measured" for row in into.fits):
        return
    noise = spec.prune.noise.model_dump()
    for place in places:
        found = rmt.spectrum(weight_of(replica, place))
        rank = replica.rank(place.part) or found.nonzero
        try:
            fit, status, reason = rmt.fit(found, noise["kind"], **_options(noise)), "measured", ""
        except DegenerateSpectrum as error:
            fit, status, reason = None, "measured", str(error)
        about = {"rank_before": rank, "rank": rank, "status": status, "reason": reason}
        into.add(epoch, place.layer, found.singular_values, fit, **about)


def _options(noise: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in noise.items() if name != "kind"}


def cut(
    pruner: rmt.Pruner,
    places: Sequence[Place],
    replicas: Sequence[Replica],
    memories: Sequence[rmt.Memory],
    generators: Sequence[torch.Generator],
    epoch: int,
    powers: dict[str, int],
    into: Sequence[Spectra],
) -> None:
    """Prune every layer of the replicates, in place, and keep the spectra from before."""
    weights = {place.layer.name: [weight_of(replica, place) for replica in replicas] for place in places}
    made = pruner.cut(weights, epoch, memories, generators)
    for place in places:
        for replica, spectra, one in zip(replicas, into, made[place.layer.name], strict=True):
            about = {name: getattr(one, name) for name in ("rank_before", "rank", "status", "reason")}
            spectra.add(epoch, place.layer, one.spectrum_before, one.fit, **about)
            if one.status == "cut":
                apply_cut(replica, place, one, powers)


def apply_cut(replica: Replica, place: Place, made: rmt.Cut, powers: Mapping[str, int]) -> None:
    """Let a replicate have a layer as the cut made it; `powers` are those of the optimiser's slots."""
    key, before = key_of(place), weight_of(replica, place)
    if isinstance(made.weight, rmt.Factors):
        kernel = _kernel(replica, place)
        carry(replica, place.part, before, made.weight, powers)
        for tensors in (replica.values, replica.masks):
            tensors.pop(key, None)
        for tensors, (left, right) in _with_values(replica, place, made.weight):
            tensors[f"{place.part}.left"], tensors[f"{place.part}.right"] = left, right.reshape(-1, *kernel)
    elif isinstance(before, rmt.Factors):
        _restore_dense(replica, place, made.weight)
    else:
        replica.values[key].flatten(1)[place.rows] = made.weight
    if made.mask is not None:
        _add_mask(replica, place, made.mask)


def _kernel(replica: Replica, place: Place) -> torch.Size:
    """Shape of one row of the unfolded layer: (in,) or (in, height, width)."""
    known = replica.values.get(key_of(place))
    return (replica.values[f"{place.part}.right"] if known is None else known).shape[1:]


def _with_values(
    replica: Replica, place: Place, factors: rmt.Factors
) -> list[tuple[dict[str, Tensor], tuple[Tensor, Tensor]]]:
    """The new factors for the values, and each slot's for the slot."""
    names = f"{place.part}.left", f"{place.part}.right"
    slots = [(tensors, (tensors[names[0]], tensors[names[1]])) for tensors in replica.slots.values()]
    return [(replica.values, (factors.left, factors.right)), *slots]


def _restore_dense(replica: Replica, place: Place, weight: Tensor) -> None:
    """A factored layer that a mask makes dense again: what the optimiser remembered of the factors is lost."""
    shape = len(weight), *_kernel(replica, place)
    for tensors in (replica.values, *replica.slots.values()):
        del tensors[f"{place.part}.left"], tensors[f"{place.part}.right"]
        tensors[key_of(place)] = weight.new_zeros(shape)
    replica.values[key_of(place)] = weight.reshape(shape)


def _add_mask(replica: Replica, place: Place, mask: Tensor) -> None:
    """Keep what a rule removed at zero from now on."""
    key = key_of(place)
    whole = replica.masks.get(key, torch.ones_like(replica.values[key], dtype=torch.bool)).clone()
    whole.flatten(1)[place.rows] = mask
    replica.masks[key] = whole
    for tensors in replica.slots.values():
        tensors[key] = tensors[key] * whole
