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

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

from rmt.certificate import TIERS, Certificate, RemovedPart, Tier
from rmt.certify_bounds import CutLayer, GaussianNoise, Sums, Walker, joined
from rmt.dense import dense_copy
from rmt.errors import InvalidOption, InvalidWeight

MARGIN_QUANTILES = (0.01, 0.05, 0.25, 0.5)


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
        InvalidWeight: A layer is of another kind, shared or parametrised, or R has another shape or NaN.
        InvalidOption: An option out of range, no samples, labels that are no classes, or logits of another shape.
    """
    names = [layers] if isinstance(layers, str) else list(layers)
    parts = [removed] if isinstance(removed, Tensor) else list(removed)
    _check(names, parts, data, failure_probability, min(l1, l2))
    network = dense_copy(model).eval().requires_grad_(False).to(dtype)
    inputs = data[0].to(dtype) if data[0].is_floating_point() else data[0]
    cuts = [_cut(network, name, part) for name, part in zip(names, parts, strict=True)]
    noise = GaussianNoise(failure_probability / len(names), len(inputs), noise_variance)
    with torch.no_grad():
        walker = Walker(network, cuts, noise)
        _check_logits(network(inputs[:1].clone()), data[1])
        before, after, totals = zip(*(walker.walk(batch) for batch in inputs.split(batch_size)), strict=True)
        removed_parts = tuple(_removed_part(cut) for cut in cuts)
    sums = {name: joined(totals, name) for name in TIERS}
    return _conclude(sums, torch.cat(before), torch.cat(after), data[1], removed_parts, l1, l2)


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


def _check_logits(logits: object, labels: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InvalidOption(f"the model gives {found} for one sample; logits (samples, classes) are needed")
    low, high, classes = int(labels.min()), int(labels.max()), logits.shape[1]
    if low < 0 or high >= classes:
        raise InvalidOption(f"labels run from {low} to {high}; the model has classes 0 to {classes - 1}")


def _cut(network: nn.Module, name: str, part: Tensor) -> CutLayer:
    try:
        layer = network.get_submodule(name)
    except AttributeError:
        raise InvalidWeight(f"the model has no layer {name!r}") from None
    if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        kind = type(layer).__name__
        raise InvalidWeight(f"layer {name!r} is a {kind}; certificates are for Linear and convolution layers")
    if is_parametrized(layer) or layer._forward_hooks or layer._forward_pre_hooks:
        raise InvalidWeight(f"layer {name!r} is parametrised or has hooks: its weight is not all that it does")
    weight = layer.weight
    sharing = [other for other, owned in network.named_parameters(remove_duplicate=False) if owned is weight]
    if len(sharing) != 1:
        raise InvalidWeight(f"the weight of layer {name!r} is shared by {', '.join(sharing)}: a cut changes all")
    if not bool(torch.isfinite(part).all()):
        raise InvalidWeight(f"R of {name!r} has {int((~torch.isfinite(part)).sum())} NaN or infinite entries")
    if part.shape not in (weight.shape, weight.flatten(1).shape):
        raise InvalidWeight(f"R of {name!r} has shape {tuple(part.shape)}; its weight {tuple(weight.shape)}")
    return CutLayer(name, layer, weight.detach().clone(), part.detach().to(weight).reshape(weight.shape))


def _removed_part(cut: CutLayer) -> RemovedPart:
    whole, lost = cut.whole.flatten(1), cut.part.flatten(1)
    left = whole - lost
    energy = float(whole.square().sum())
    # ‖R‖₂ from the smaller Gram matrix: an order of magnitude cheaper than singular values.
    gram = lost @ lost.T if lost.shape[0] <= lost.shape[1] else lost.T @ lost
    return RemovedPart(
        layer=cut.name,
        frobenius=float(lost.norm()),
        spectral=math.sqrt(max(0.0, float(torch.linalg.eigvalsh(gram)[-1]))),
        row_sum=float(lost.abs().sum(1).max()),
        entry_sum=float(lost.abs().sum()),
        inner_product=float((left * lost).sum()),
        energy_share=float(lost.square().sum()) / energy if energy else None,
        squared_change=float(left.square().sum()) - energy,
        absolute_change=float(left.abs().sum() - whole.abs().sum()),
    )


def _conclude(
    sums: dict[str, Sums],
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
        name: _tier(name, sums[name], _gaps(before, predicted), true_margin, changed, penalty) for name in TIERS
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


def _tier(name: str, sums: Sums, gaps: Tensor, true_margin: Tensor, changed: Tensor, penalty: float) -> Tier:
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
