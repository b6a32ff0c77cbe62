"""Rules that change singular values instead of only removing some.

The optimal shrinkers undo what noise does to a spike: it comes out too large and turned away. Each minimises
another norm of the error, asymptotically. With y = s/(σ̂√n), they keep what is above the edge, y > 1 + √γ, and

    x² = ½ (y² − γ − 1 + √((y² − γ − 1)² − 4γ))

is the squared strength that the spike had before the noise. `strength` a moves kept values the share a of the way
to their shrunk value and removes the share a, smallest first, of the values that the shrinker removes.

Source: Gavish and Donoho 2017, "Optimal shrinkage of singular values"; the operator-norm form is the
corrected one, which is x itself only at γ = 1. The tests minimise the three norms directly.
"""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Interval
from jaxtyping import Float64
from torch import Tensor

from rmt.noise import NoiseFit
from rmt.rules.contract import RULES, share_of
from rmt.spectrum import Spectrum


@RULES.register(version=2, idempotent=False, random=False)
def shrink_frobenius(
    spectrum: Spectrum, fit: NoiseFit, strength: float, generator: torch.Generator
) -> Float64[Tensor, " p"]:
    """Optimal shrinkage in the Frobenius norm: √((y² − γ − 1)² − 4γ) / y."""
    y, _, aspect = _scaled(spectrum, fit)
    shrunk = ((y**2 - aspect - 1) ** 2 - 4 * aspect).clamp(min=0).sqrt() / y
    return _towards(spectrum, fit, shrunk, strength)


@RULES.register(version=2, idempotent=False, random=False)
def shrink_operator(
    spectrum: Spectrum, fit: NoiseFit, strength: float, generator: torch.Generator
) -> Float64[Tensor, " p"]:
    """Optimal shrinkage in the operator norm: x √((x² + γ) / (x² + 1))."""
    _, x, aspect = _scaled(spectrum, fit)
    return _towards(spectrum, fit, x * ((x**2 + aspect) / (x**2 + 1)).sqrt(), strength)


@RULES.register(version=2, idempotent=False, random=False)
def shrink_nuclear(
    spectrum: Spectrum, fit: NoiseFit, strength: float, generator: torch.Generator
) -> Float64[Tensor, " p"]:
    """Optimal shrinkage in the nuclear norm: max(0, x⁴ − γ − √γ x y) / (x² y)."""
    y, x, aspect = _scaled(spectrum, fit)
    shrunk = (x**4 - aspect - aspect**0.5 * x * y).clamp(min=0) / (x**2 * y)
    return _towards(spectrum, fit, shrunk, strength)


@RULES.register(idempotent=False, random=False)
def bulk_shrink(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    factor: Annotated[float, Interval(ge=0, le=1)] | None = None,
) -> Float64[Tensor, " p"]:
    """Multiply what is below the threshold by a factor, 1 − strength unless given; at 0 it is removed.

    Source: the public notebook's second variant, with factor 0.5.
    """
    chosen = 1 - strength if factor is None else factor
    spike = spectrum.eigenvalues > fit.threshold
    return torch.where(spike, spectrum.singular_values, chosen * spectrum.singular_values)


def _scaled(spectrum: Spectrum, fit: NoiseFit) -> tuple[Tensor, Tensor, float]:
    """y, x and γ of the live part; below the edge, its x there, γ^(1/4), stands in."""
    live = spectrum.live
    y = spectrum.singular_values / (live.larger * fit.variance) ** 0.5
    y = y.clamp(min=1 + live.aspect**0.5)
    excess = y**2 - live.aspect - 1
    x = ((excess + (excess**2 - 4 * live.aspect).clamp(min=0).sqrt()) / 2).sqrt()
    return y, x, live.aspect


def _towards(spectrum: Spectrum, fit: NoiseFit, shrunk: Tensor, strength: float) -> Tensor:
    values = spectrum.singular_values
    above = (spectrum.eigenvalues > fit.edge) & (shrunk > 0)
    target = torch.minimum(shrunk * (spectrum.live.larger * fit.variance) ** 0.5, values)
    moved = torch.where(above, values + strength * (target - values), values)
    spikes = int(above.sum())
    moved[spikes + share_of(spectrum.smaller - spikes, 1 - strength) :] = 0
    return moved
