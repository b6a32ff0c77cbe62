"""The bounds behind a certificate: each layer's share of every tier, on the network as it is before its cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rmt.propagation import Observed, Outcome, observe, propagate, trace
from rmt.propagation_rules import CONVOLUTIONS, NoBound, with_weight


@dataclass
class Sums:
    """Bounds of one tier added over layers; `reason` is set by the first layer it does not apply to."""

    bound: Tensor | None = None
    reason: str = ""

    def add(self, more: Tensor) -> None:
        """Add one layer's bounds."""
        self.bound = more if self.bound is None else self.bound + more


@dataclass
class Totals:
    """Everything that adds up over layers, for one batch."""

    realised: Sums = field(default_factory=Sums)
    pairwise: Sums = field(default_factory=Sums)  # (samples, classes), against the predicted class
    coordinatewise: Sums = field(default_factory=Sums)
    norm_product: Sums = field(default_factory=Sums)
    gaussian: Sums = field(default_factory=Sums)

    def fail(self, reason: str) -> None:
        """No tier but the realised one has a bound, for this reason."""
        for tier in (self.pairwise, self.coordinatewise, self.norm_product, self.gaussian):
            tier.reason = tier.reason or reason

    def tier(self, name: str) -> Sums:
        """The sums of a tier by its name."""
        found: Sums = getattr(self, name)
        return found


def joined(batches: Sequence[Totals], name: str) -> Sums:
    """One tier over all batches."""
    parts = [batch.tier(name) for batch in batches]
    bounds = [part.bound for part in parts if part.bound is not None]
    reason = next((part.reason for part in parts if part.reason), "")
    return Sums(None if reason else torch.cat(bounds), reason)


@dataclass(frozen=True)
class CutLayer:
    """One layer to cut: the layer in the network, its weight before, and the part R that goes."""

    name: str
    layer: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
    whole: Tensor
    part: Tensor


@dataclass(frozen=True)
class GaussianNoise:
    """The random tier's constants: failure probability of one layer, samples, entry variance or None."""

    failure: float
    samples: int
    variance: float | None

    def at_layer(self, layer: nn.Module, part: Tensor, inputs: Tensor) -> Tensor:
        """Bound of ‖R v‖_∞ a sample: each coordinate is N(0, σ²‖v‖²), union over coordinates and samples.

        For a convolution ‖v‖ is the largest norm of a patch and the coordinates are rows × positions.
        """
        energy = with_weight(layer, _ones_like_one_row(layer, part))(inputs.square())
        spread = energy.flatten(1).amax(1).sqrt()
        positions = energy[0].numel() if isinstance(layer, nn.Linear) else energy[0, 0].numel()
        coordinates = part.shape[0] * positions
        variance = float(part.square().mean()) if self.variance is None else self.variance
        return spread * math.sqrt(2 * variance * math.log(2 * coordinates * self.samples / self.failure))


def _ones_like_one_row(layer: nn.Module, part: Tensor) -> Tensor:
    """Weights that sum a patch: one output row (one a group)."""
    groups = layer.groups if isinstance(layer, CONVOLUTIONS) else 1
    return torch.ones_like(part[:groups])


class Walker:
    """Cuts the layers one after another, batch by batch, and bounds each cut on the network as it is before it."""

    def __init__(self, network: nn.Module, cuts: Sequence[CutLayer], noise: GaussianNoise) -> None:
        self.network, self.cuts, self.noise = network, cuts, noise
        self.untraceable = ""
        try:
            self.graph = trace(network)
        except NoBound as reason:
            self.untraceable = str(reason)

    def walk(self, batch: Tensor) -> tuple[Tensor, Tensor, Totals]:
        """Logits before all cuts, logits after, and the bounds; the network is then as it was."""
        totals = Totals()
        before, inputs = self._run(batch, self.cuts[0])
        predicted, logits = before.argmax(1), before
        observed = self._observe(batch, before)
        for cut, following in zip(self.cuts, [*self.cuts[1:], None], strict=True):
            self._add_bounds(totals, cut, inputs, predicted, observed)
            cut.layer.weight.copy_(cut.whole - cut.part)
            after, inputs = self._run(batch, following)
            totals.realised.add((after - logits).abs().amax(1))
            logits = after
        for cut in self.cuts:
            cut.layer.weight.copy_(cut.whole)
        return before, logits, totals

    def _run(self, batch: Tensor, watched: CutLayer | None) -> tuple[Tensor, list[Tensor]]:
        """Logits, and what the watched layer was given, once for each time it ran."""
        seen: list[Tensor] = []
        if watched is None:
            return self.network(batch), seen
        handle = watched.layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        try:
            return self.network(batch), seen
        finally:
            handle.remove()

    def _observe(self, batch: Tensor, logits: Tensor) -> Observed:
        """What the graph's nodes give; notes when the graph is not the model (hooks, randomness)."""
        if self.untraceable:
            return {}
        output, observed = observe(self.graph, batch)
        if not (isinstance(output, Tensor) and torch.allclose(output, logits, equal_nan=True)):
            self.untraceable = "the model's graph does not give its logits: it is random, or has hooks"
        return observed

    def _add_bounds(
        self, totals: Totals, cut: CutLayer, seen: list[Tensor], predicted: Tensor, observed: Observed
    ) -> None:
        if self.untraceable:
            return totals.fail(self.untraceable)
        if len(seen) != 1:
            return totals.fail(f"layer {cut.name!r} runs {len(seen)} times in one forward pass")
        change = with_weight(cut.layer, cut.part)(seen[0]).abs()
        try:
            outcome = propagate(self.graph, cut.name, change, observed)
        except NoBound as reason:
            return totals.fail(str(reason))
        gain = outcome.reach.gain
        totals.coordinatewise.add(outcome.reach.coordinates.amax(1))
        totals.norm_product.add(gain * change.flatten(1).amax(1))
        totals.gaussian.add(gain * self.noise.at_layer(cut.layer, cut.part, seen[0]))
        totals.pairwise.add(_pairwise(outcome, predicted))
        totals.pairwise.reason = totals.pairwise.reason or outcome.head_reason
        return None


def _pairwise(outcome: Outcome, predicted: Tensor) -> Tensor:
    """Bound on the change of z_p − z_j for every class j, p the predicted class: Σ_k |w_pk − w_jk| |δ_k|."""
    reach = outcome.before_head
    if outcome.head is None:
        bounds = reach.gather(1, predicted[:, None]) + reach
        return bounds.scatter(1, predicted[:, None], 0.0)
    weight = outcome.head.weight
    bounds = reach.new_empty(len(reach), len(weight))
    for label in predicted.unique():
        members = predicted == label
        bounds[members] = reach[members] @ (weight - weight[label]).abs().T
    return bounds
