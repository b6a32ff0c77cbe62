"""Pruning inside a training: from a stack's replicates to `rmt` and back, and the spectra on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import rmt
from rmt.errors import DegenerateSpectrum
from rmt.matrices import Weight
from sweeps.stack import Replica
from sweeps.stack_slots import carry
from sweeps.trial_spec import TrialSpec


def layers_of(module: nn.Module) -> list[rmt.Layer]:
    """The matrices of a module that can be pruned: linear layers, convolutions unfolded to (out, in · k · k)."""
    parts = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)
    ]
    return [
        rmt.Layer(
            name,
            kind="linear" if isinstance(part, nn.Linear) else "conv2d",
            rows=len(part.weight),
            cols=part.weight[0].numel(),
            head=name == parts[-1][0],
        )
        for name, part in parts
    ]


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
        epochs=spec.training.epochs,
        overrides=[layer.model_dump(exclude_none=True) for layer in prune.layers],
        budget=prune.budget,
        total_parameters=total_parameters,
    )


def weight_of(replica: Replica, layer: str) -> Weight:
    """A layer's matrix as it is kept."""
    weight = replica.values.get(f"{layer}.weight")
    if weight is not None:
        return weight.flatten(1)
    return rmt.Factors(replica.values[f"{layer}.left"], replica.values[f"{layer}.right"])


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
        return dict.fromkeys(("variance", "edge", "threshold", "spikes", "distance"))
    return {
        "variance": fit.variance,
        "edge": fit.singular_edge,
        "threshold": fit.singular_threshold,
        "spikes": fit.spikes,
        "distance": fit.distance,
    }


def measure(replica: Replica, layers: Sequence[rmt.Layer], spec: TrialSpec, epoch: int, into: Spectra) -> None:
    """Add the spectra of all layers as they are, with the noise fit where one can be made; once an epoch."""
    if any(row["epoch"] == epoch and row["status"] == "measured" for row in into.fits):
        return
    noise = spec.prune.noise.model_dump()
    for layer in layers:
        found = rmt.spectrum(weight_of(replica, layer.name))
        rank = replica.rank(layer.name) or found.nonzero
        try:
            fit, status, reason = rmt.fit(found, noise["kind"], **_options(noise)), "measured", ""
        except DegenerateSpectrum as error:
            fit, status, reason = None, "skipped", str(error)
        into.add(
            epoch, layer, found.singular_values, fit, rank_before=rank, rank=rank, status=status, reason=reason
        )


def _options(noise: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in noise.items() if name != "kind"}


def cut(
    pruner: rmt.Pruner,
    replicas: Sequence[Replica],
    memories: Sequence[rmt.Memory],
    generators: Sequence[torch.Generator],
    epoch: int,
    powers: dict[str, int],
    into: Sequence[Spectra],
) -> None:
    """Prune every layer of the replicates, in place, and keep the spectra from before."""
    weights = {name: [weight_of(replica, name) for replica in replicas] for name in pruner.layers}
    for name, cuts in pruner.cut(weights, epoch, memories, generators).items():
        for replica, spectra, made in zip(replicas, into, cuts, strict=True):
            spectra.add(
                epoch,
                pruner.layers[name],
                made.spectrum_before,
                made.fit,
                rank_before=made.rank_before,
                rank=made.rank,
                status=made.status,
                reason=made.reason,
            )
            if made.status == "cut":
                _apply(replica, name, made, powers)


def _apply(replica: Replica, layer: str, made: rmt.Cut, powers: dict[str, int]) -> None:
    key = f"{layer}.weight"
    replica.masks.pop(key, None)
    if isinstance(made.weight, rmt.Factors):
        carry(replica, layer, made.weight, powers)
        replica.values.pop(key, None)
        replica.values[f"{layer}.left"], replica.values[f"{layer}.right"] = made.weight
        return
    if key not in replica.values:
        _restore_dense(replica, layer, made.weight)
    replica.values[key] = made.weight.reshape(replica.values[key].shape)
    if made.mask is not None:
        replica.masks[key] = made.mask.reshape(replica.values[key].shape)
        for tensors in replica.slots.values():
            tensors[key] = tensors[key] * replica.masks[key]


def _restore_dense(replica: Replica, layer: str, weight: Tensor) -> None:
    """A factored layer that a mask makes dense again: what the optimiser remembered of the factors is lost."""
    for tensors in (replica.values, *replica.slots.values()):
        del tensors[f"{layer}.left"], tensors[f"{layer}.right"]
        tensors[f"{layer}.weight"] = torch.zeros_like(weight)
