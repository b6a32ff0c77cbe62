"""Measures of one layer's spectrum (SCIENCE §1.11).

S₊ is the fit's threshold, with the Tracy–Widom term at its β; spikes are the singular values above it, the bulk
the others. p is the smaller side.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from rmt.matrices import Weight, dense, shape_of
from rmt.measures.contract import MEASURES, LayerSubject, Number
from rmt.noise import NoiseFit
from rmt.spectrum import hill_alpha as _hill_alpha


def _fit(layer: LayerSubject) -> NoiseFit:
    found = layer.fit
    if found is None:
        raise ValueError("measures that need a fit are only taken where there is one")
    return found


def _parts(layer: LayerSubject) -> tuple[Tensor, Tensor]:
    """Singular values of the spikes and of the bulk."""
    values, spikes = layer.spectrum.singular_values, _fit(layer).spikes
    return values[:spikes], values[spikes:]


@MEASURES.register(of="layer", needs=("fit",), power=2, least=0)
def noise_variance(layer: LayerSubject) -> Number:
    """σ̂², the variance of one noise entry."""
    return _fit(layer).variance


@MEASURES.register(of="layer", needs=("fit",), power=1, least=0)
def singular_edge(layer: LayerSubject) -> Number:
    """S₊ without the Tracy–Widom term."""
    return _fit(layer).singular_edge


@MEASURES.register(of="layer", needs=("fit",), power=1, least=0)
def singular_threshold(layer: LayerSubject) -> Number:
    """S₊ with the Tracy–Widom term at the fit's β."""
    return _fit(layer).singular_threshold


@MEASURES.register(of="layer", needs=("fit",), power=0, least=0)
def spikes(layer: LayerSubject) -> Number:
    """K₊, number of singular values above S₊."""
    return float(_fit(layer).spikes)


@MEASURES.register(of="layer", needs=("fit",), power=0, least=0, most=1)
def bulk_fraction(layer: LayerSubject) -> Number:
    """γ_b = 1 − K₊/p."""
    return _fit(layer).bulk_fraction


@MEASURES.register(of="layer", needs=("fit",), power=0, least=0, most=1)
def fit_distance(layer: LayerSubject) -> Number:
    """μ, two-sided Kolmogorov–Smirnov distance to the fitted law on the window of central order statistics."""
    return _fit(layer).distance


@MEASURES.register(of="layer", needs=("fit",), power=0, least=0, most=1)
def bulk_randomness(layer: LayerSubject) -> Number:
    """(1 − μ) γ_b."""
    found = _fit(layer)
    return (1 - found.distance) * found.bulk_fraction


@MEASURES.register(of="layer", needs=("fit",), power=0, least=0, most=1)
def spike_mass(layer: LayerSubject) -> Number:
    """Share of the energy Σs² above S₊."""
    above, below = (float(part.square().sum()) for part in _parts(layer))
    return above / (above + below)


@MEASURES.register(of="layer", needs=("fit",), power=0, least=0)
def spike_to_bulk_energy(layer: LayerSubject) -> Number:
    """Energy above S₊ over energy below; None when nothing is below."""
    above, below = (float(part.square().sum()) for part in _parts(layer))
    return above / below if below else None


@MEASURES.register(of="layer", needs=("fit",), power=0, least=1)
def outlier_ratio(layer: LayerSubject) -> Number:
    """Mean of s/S₊ over the spikes; None without spikes or without a positive threshold."""
    above, threshold = _parts(layer)[0], _fit(layer).singular_threshold
    return float(above.mean()) / threshold if len(above) and threshold else None


@MEASURES.register(of="layer", needs=(), power=0, least=0)
def stable_rank(layer: LayerSubject) -> Number:
    """‖W‖_F² / s₁²; None for a zero matrix."""
    energy = layer.spectrum.eigenvalues
    return float(energy.sum() / energy[0]) if energy[0] > 0 else None


@MEASURES.register(of="layer", needs=(), power=0, least=0)
def entropy_rank(layer: LayerSubject) -> Number:
    """exp(−Σ π log π) with π = s²/Σs²; None for a zero matrix."""
    energy = layer.spectrum.eigenvalues
    if not energy[0] > 0:
        return None
    shares = energy / energy.sum()
    return float(torch.special.entr(shares).sum().exp())


@MEASURES.register(of="layer", needs=(), power=0, least=1)
def hill_alpha(layer: LayerSubject, *, top: Annotated[int, Ge(1)] = 20) -> Number:
    """Tail exponent 1 + 1/mean(log λ_i − log λ_{k+1}) over the top k; None without a spread tail."""
    alpha = _hill_alpha(layer.spectrum.eigenvalues, top=top)
    return alpha if 1 <= alpha < float("inf") else None


@MEASURES.register(of="layer", needs=(), power=0, least=0)
def rank(layer: LayerSubject) -> Number:
    """Numerical rank: singular values above what rounding leaves of a removed one."""
    return float(_rank(layer))


@MEASURES.register(of="layer", needs=(), power=0, least=0)
def factored_share(layer: LayerSubject) -> Number:
    """k (rows + cols) / (rows · cols) with k the numerical rank: parameters as factors, against dense ones."""
    rows, cols = shape_of(layer.weight)
    return _rank(layer) * (rows + cols) / (rows * cols)


def _rank(layer: LayerSubject) -> int:
    return layer.spectrum.nonzero if layer.spectrum.eigenvalues[0] > 0 else 0


@MEASURES.register(of="layer", needs=("fit", "previous"), power=0, least=0, most=1)
def spike_overlap(layer: LayerSubject) -> Number:
    """‖U_oldᵀ U_new‖_F² / k over the k leading left vectors, k the spikes of now; None without spikes."""
    count = _fit(layer).spikes
    if layer.previous is None or not count:
        return None
    old, new = (_leading_left(weight, count) for weight in (layer.previous, layer.weight))
    return min(1.0, float((old.mT @ new).square().sum()) / count)


def _leading_left(weight: Weight, count: int) -> Tensor:
    """Left singular vectors of the `count` largest values, (rows, count), from the smaller Gram matrix."""
    matrix = dense(weight).detach().double()
    if matrix.shape[0] <= matrix.shape[1]:
        return torch.linalg.eigh(matrix @ matrix.mT)[1][:, -count:]
    right = torch.linalg.eigh(matrix.mT @ matrix)[1][:, -count:]
    return torch.linalg.qr(matrix @ right)[0]
