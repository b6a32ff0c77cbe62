"""Certificates: what removing a part of a layer can and can not do to a network's answers.

A layer A is cut to S = A − R. Each tier bounds, sample by sample, how far the logits move; a sample whose
margin (best minus second-best logit) exceeds twice its bound keeps its label, whatever else happens
(SCIENCE §3, "Data-path certificate"). From tight to loose:

- `realised`: the logits before and after, compared; exact, but needs the cut network.
- `pairwise`: |w_p − w_j| · |change at the last layer's input|, class by class against the predicted one.
- `coordinatewise`: the absolute network applied to |R v|; one forward pass, weights only.
- `norm_product`: Π ‖W‖_∞ · ‖R v‖_∞ (the papers' form with a global Lipschitz constant).
- `gaussian`: the same factor times ‖v‖₂ σ √(2 log(2 N |T| / δ)), true with probability 1 − δ *if* R is
  Gaussian noise independent of the data: an assumption on R, so its certified samples may change.

Several layers are cut one after the other and their bounds add (SCIENCE §3, "Multi-layer").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from rmt.certificate import TIERS, Certificate, RemovedPart, Tier
from rmt.dense import dense_copy
from rmt.errors import InvalidOption, InvalidWeight
from rmt.propagation import CONVOLUTIONS, NoBound, Outcome, propagate, trace, with_weight

MARGIN_QUANTILES = (0.01, 0.05, 0.25, 0.5)


@dataclass
class _Sums:
    """Bounds of one tier added over layers; `reason` is set by the first layer it does not apply to."""

    bound: Tensor | None = None
    reason: str = ""

    def add(self, more: Tensor) -> None:
        self.bound = more if self.bound is None else self.bound + more


@dataclass
class _Totals:
    """Everything that adds up over layers."""

    realised: _Sums = field(default_factory=_Sums)
    pairwise: _Sums = field(default_factory=_Sums)  # (samples, classes), against the predicted class
    coordinatewise: _Sums = field(default_factory=_Sums)
    norm_product: _Sums = field(default_factory=_Sums)
    gaussian: _Sums = field(default_factory=_Sums)

    def fail(self, reason: str) -> None:
        for tier in (self.pairwise, self.coordinatewise, self.norm_product, self.gaussian):
            tier.reason = tier.reason or reason


def certify(
    model: nn.Module,
    layers: str | Sequence[str],
    removed: Tensor | Sequence[Tensor],
    data: tuple[Tensor, Tensor],
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    failure_probability: float = 0.05,
    noise_variance: float | None = None,
    batch_size: int = 1000,
    dtype: torch.dtype = torch.float64,
) -> Certificate:
    """Bound, and measure, what removing `removed` from `layers` does to the model's labels and objective.

    Args:
        model: The network *before* the cut, from inputs to logits (samples, classes). It is not changed;
            factored layers count as their product.
        layers: Dotted name of a Linear or convolution (or of a factored layer), or several in forward order.
        removed: R for each layer, shaped as its weight or unfolded to (rows, cols): what is left is A − R.
        data: (inputs, labels); a fixed calibration set, never the test set when decisions follow from it.
        l1, l2: Weights of Σ|θ| and Σθ² in the objective, ≥ 0.
        failure_probability: δ of the Gaussian tier over all samples and layers, in (0, 1).
        noise_variance: Entry variance of R in the Gaussian tier; ‖R‖_F² / (rows · cols) when None.
        batch_size: Samples at once.
        dtype: Arithmetic; float64 keeps rounding out of near ties.

    Raises:
        InvalidWeight: A layer is of another kind, or R has another shape.
        InvalidOption: An option out of range, or no samples.
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    parts = [removed] if isinstance(removed, Tensor) else list(removed)
    _check(names, parts, data, failure_probability, min(l1, l2))
    network = dense_copy(model).eval().requires_grad_(False).to(dtype)
    inputs = data[0].to(dtype) if data[0].is_floating_point() else data[0]
    batches = inputs.split(batch_size)
    targets = [_target(network, name, part) for name, part in zip(names, parts, strict=True)]
    with torch.no_grad():
        before = torch.cat([network(batch) for batch in batches])
        gaussian = _Gaussian(failure_probability / len(names), len(inputs), noise_variance)
        walk = _Walker(network, batches, before.argmax(1), gaussian)
        totals, removals, logits = _Totals(), [], before
        for name, (layer, part) in zip(names, targets, strict=True):
            removals.append(_removed_part(name, layer.weight, part))
            walk.add_bounds(totals, name, part)
            layer.weight -= part
            after = torch.cat([network(batch) for batch in batches])
            totals.realised.add((after - logits).abs().amax(1))
            logits = after
    return _conclude(totals, before, logits, data[1], tuple(removals), l1, l2)


def _check(
    names: list[str], parts: list[Tensor], data: tuple[Tensor, Tensor], failure: float, weight: float
) -> None:
    if not names or len(names) != len(set(names)) or len(names) != len(parts):
        raise InvalidOption(f"{len(parts)} removed parts for the layers {names}; one each, no layer twice")
    if len(data[0]) == 0 or len(data[0]) != len(data[1]):
        raise InvalidOption(f"{len(data[0])} inputs and {len(data[1])} labels; as many of both, at least one")
    if not 0 < failure < 1:
        raise InvalidOption(f"failure_probability is {failure}; allowed: above 0, below 1")
    if weight < 0:
        raise InvalidOption(f"a penalty weight is {weight}; allowed: 0 or more")


def _target(network: nn.Module, name: str, part: Tensor) -> tuple[Any, Tensor]:
    try:
        layer = network.get_submodule(name)
    except AttributeError:
        raise InvalidWeight(f"the model has no layer {name!r}") from None
    if not isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
        kind = type(layer).__name__
        raise InvalidWeight(f"layer {name!r} is a {kind}; certificates are for Linear and convolution layers")
    weight = layer.weight
    if part.shape not in (weight.shape, weight.flatten(1).shape):
        raise InvalidWeight(f"R of {name!r} has shape {tuple(part.shape)}; its weight {tuple(weight.shape)}")
    return layer, part.detach().to(weight).reshape(weight.shape)


def _removed_part(name: str, weight: Tensor, part: Tensor) -> RemovedPart:
    whole, lost = weight.flatten(1), part.flatten(1)
    left = whole - lost
    energy = float(whole.square().sum())
    # ‖R‖₂ from the smaller Gram matrix: an order of magnitude cheaper than singular values.
    gram = lost @ lost.T if lost.shape[0] <= lost.shape[1] else lost.T @ lost
    return RemovedPart(
        layer=name,
        frobenius=float(lost.norm()),
        spectral=math.sqrt(max(0.0, float(torch.linalg.eigvalsh(gram)[-1]))),
        row_sum=float(lost.abs().sum(1).max()),
        entry_sum=float(lost.abs().sum()),
        inner_product=float((left * lost).sum()),
        energy_share=float(lost.square().sum()) / energy if energy else None,
        squared_change=float(left.square().sum()) - energy,
        absolute_change=float(left.abs().sum() - whole.abs().sum()),
    )


@dataclass(frozen=True)
class _Gaussian:
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


class _Walker:
    """Bounds of one layer after another, each on the network as it is before that layer's cut."""

    def __init__(
        self, network: nn.Module, batches: Sequence[Tensor], predicted: Tensor, gaussian: _Gaussian
    ) -> None:
        self.network, self.batches, self.gaussian = network, batches, gaussian
        self.predicted = predicted.split(len(batches[0]))
        self.untraceable = ""
        try:
            self.graph = trace(network)
        except NoBound as reason:
            self.untraceable = str(reason)

    def add_bounds(self, totals: _Totals, name: str, part: Tensor) -> None:
        """Add one layer's bounds to every tier that applies; say why to the others."""
        if self.untraceable:
            return totals.fail(self.untraceable)
        try:
            pairs = zip(self.batches, self.predicted, strict=True)
            parts = [self._bounds(name, part, batch, predicted) for batch, predicted in pairs]
        except NoBound as reason:
            return totals.fail(str(reason))
        totals.pairwise.reason = totals.pairwise.reason or parts[0].head_reason
        for tier in ("pairwise", "coordinatewise", "norm_product", "gaussian"):
            getattr(totals, tier).add(torch.cat([getattr(found, tier) for found in parts]))
        return None

    def _bounds(self, name: str, part: Tensor, batch: Tensor, predicted: Tensor) -> _Bounds:
        layer = self.network.get_submodule(name)
        inputs = _inputs_of(self.network, layer, batch)
        change = with_weight(layer, part)(inputs).abs()
        outcome = propagate(self.graph, name, change)
        gain = outcome.reach.gain
        return _Bounds(
            pairwise=_pairwise(outcome, predicted),
            coordinatewise=outcome.reach.coordinates.amax(1),
            norm_product=gain * change.flatten(1).amax(1),
            gaussian=gain * self.gaussian.at_layer(layer, part, inputs),
            head_reason=outcome.head_reason,
        )


class _Bounds(NamedTuple):
    """One layer's bounds on one batch; `pairwise` is (samples, classes), the others (samples,)."""

    pairwise: Tensor
    coordinatewise: Tensor
    norm_product: Tensor
    gaussian: Tensor
    head_reason: str


def _inputs_of(network: nn.Module, layer: nn.Module, batch: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        network(batch)
    finally:
        handle.remove()
    if len(seen) != 1:
        raise NoBound(f"the layer runs {len(seen)} times in one forward pass")
    return seen[0]


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


def _conclude(
    totals: _Totals,
    before: Tensor,
    after: Tensor,
    labels: Tensor,
    removed: tuple[RemovedPart, ...],
    l1: float,
    l2: float,
) -> Certificate:
    predicted = before.argmax(1)
    changed = predicted != after.argmax(1)
    true_margin = _gaps(before, labels).amin(1)
    penalty = sum(l2 * part.squared_change + l1 * part.absolute_change for part in removed)
    quantiles = torch.tensor(MARGIN_QUANTILES, dtype=before.dtype, device=before.device)
    margins = torch.quantile(true_margin, quantiles).tolist()
    tiers = {
        name: _tier(name, getattr(totals, name), _gaps(before, predicted), true_margin, changed, penalty)
        for name in TIERS
    }
    return Certificate(
        samples=len(labels),
        margins=dict(zip(MARGIN_QUANTILES, margins, strict=True)),
        misclassified=float((true_margin < 0).double().mean()),
        removed=removed,
        tiers=tiers,
        changed=int(changed.sum()),
        accuracy_before=float((predicted == labels).double().mean()),
        accuracy_after=float((after.argmax(1) == labels).double().mean()),
        loss_before=float(functional.cross_entropy(before, labels)),
        loss_after=float(functional.cross_entropy(after, labels)),
        penalty_change=penalty,
    )


def _gaps(logits: Float[Tensor, "samples classes"], against: Tensor) -> Float[Tensor, "samples classes"]:
    """z_c − z_j for class c = `against` of each sample; infinite at j = c."""
    own = against[:, None]
    return (logits.gather(1, own) - logits).scatter(1, own, math.inf)


def _tier(name: str, sums: _Sums, gaps: Tensor, true_margin: Tensor, changed: Tensor, penalty: float) -> Tier:
    if sums.reason or sums.bound is None:
        return Tier(name, reason=sums.reason)
    if name == "pairwise":
        bound, loss_bound = sums.bound.amax(1) / 2, None
        certified = (sums.bound < gaps).all(1)
        ambiguous = ~certified
    else:
        bound, loss_bound = sums.bound, 2 * float(sums.bound.mean())
        certified = 2 * bound < gaps.amin(1)
        ambiguous = true_margin.abs() <= 2 * bound
    return Tier(
        name,
        probabilistic=name == "gaussian",
        bound=bound,
        certified=certified,
        certified_share=float(certified.double().mean()),
        certified_but_changed=int((certified & changed).sum()),
        loss_bound=loss_bound,
        accuracy_bound=float(ambiguous.double().mean()),
        objective_certified=None if loss_bound is None else loss_bound + penalty < 0,
    )
