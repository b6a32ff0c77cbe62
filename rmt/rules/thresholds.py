"""Rules that draw a line between signal and noise and remove from below it.

All map `strength` a to the fraction f = 1 − a of the values below the line that stays, largest first. `horizon`
is the T of f = max(0, 1 − epoch / T), which the pruner puts in place of its schedule.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from rmt.marchenko_pastur import MarchenkoPastur
from rmt.noise import NoiseFit
from rmt.rules.contract import RULES, Horizon, Share, keep_fraction_below
from rmt.spectrum import Spectrum


@RULES.register(idempotent=True, random=False, fit=False)
def none(
    spectrum: Spectrum, fit: NoiseFit | None, strength: float, generator: torch.Generator
) -> Float64[Tensor, " p"]:
    """Remove nothing: the control that every sweep needs."""
    return spectrum.singular_values


@RULES.register(version=2, idempotent=True, random=False)
def mp_threshold(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    keep_fraction: Share | None = None,
    horizon: Horizon | None = None,
) -> Float64[Tensor, " p"]:
    """Keep what is above the Tracy–Widom threshold and a fraction f = 1 − strength of the rest, largest first.

    Source: arXiv:2310.03165 and its code (the fraction counts removed values too).
    """
    return keep_fraction_below(spectrum, fit.threshold, 1 - strength if keep_fraction is None else keep_fraction)


@RULES.register(idempotent=True, random=False)
def mp_edge(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    keep_fraction: Share | None = None,
    horizon: Horizon | None = None,
) -> Float64[Tensor, " p"]:
    """The same at the edge of the law itself, σ̂²(1 + √γ)², without the finite-size term (t = 0)."""
    return keep_fraction_below(spectrum, fit.edge, 1 - strength if keep_fraction is None else keep_fraction)


@RULES.register(version=2, idempotent=True, random=False)
def gavish_donoho(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    keep_fraction: Share | None = None,
    horizon: Horizon | None = None,
    noise_level: Literal["fit", "median"] = "fit",
) -> Float64[Tensor, " p"]:
    """The hard threshold that is optimal in mean square, λ*(γ) σ̂ √n; above the edge.

    With `noise_level="median"` the threshold is ω(γ) times the median singular value, ω = λ*/√(median of the law):
    no noise fit, but also no repeat with the same result, since a truncated spectrum has another median.

    Source: Gavish and Donoho 2014, "The optimal hard threshold for singular values is 4/√3".
    """
    live = spectrum.live
    if noise_level == "fit":
        variance = fit.variance
    else:
        variance = float(live.eigenvalues.quantile(0.5) / MarchenkoPastur(live.aspect).median)
    threshold = hard_threshold(live.aspect) ** 2 * variance * live.larger / spectrum.larger
    return keep_fraction_below(spectrum, threshold, 1 - strength if keep_fraction is None else keep_fraction)


def hard_threshold(aspect: float) -> float:
    """λ*(γ) = √(2(γ + 1) + 8γ / (γ + 1 + √(γ² + 14γ + 1))), in units of σ √n; 4/√3 at γ = 1."""
    root = math.sqrt(aspect**2 + 14 * aspect + 1)
    return math.sqrt(2 * (aspect + 1) + 8 * aspect / (aspect + 1 + root))
