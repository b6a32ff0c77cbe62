"""Rules that remove single entries; they return masks. `strength` is the share of entries removed unless said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from jaxtyping import Bool
from torch import Tensor

from rmt.matrices import dense
from rmt.noise import NoiseFit
from rmt.rules.contract import RULES, Share, share_of
from rmt.spectrum import Spectrum, hill_alpha


def _global_shares(spectra: Sequence[Spectrum], strength: float, options: Mapping[str, Any]) -> list[float]:
    """The share of each layer that lies below one threshold for all of them."""
    keep = 1 - strength if options["keep_share"] is None else options["keep_share"]
    if options["scope"] == "layer":
        return [strength] * len(spectra)
    sizes = [dense(spectrum.weight).detach().abs().flatten() for spectrum in spectra]
    together = torch.cat([size.cpu() for size in sizes])
    stays = _largest(together, together.numel() - share_of(together.numel(), 1 - keep))
    parts = stays.split([size.numel() for size in sizes])
    return [1 - float(part.double().mean()) for part in parts]


@RULES.register(idempotent=True, random=False, fit=False, allocate=_global_shares)
def magnitude(
    spectrum: Spectrum,
    fit: NoiseFit | None,
    strength: float,
    generator: torch.Generator,
    *,
    keep_share: Share | None = None,
    scope: Literal["layer", "global"] = "layer",
) -> Bool[Tensor, "rows cols"]:
    """Remove the entries of smallest size: a share of each layer, or of all layers taken together.

    Source: Han, Pool, Tran and Dally 2015. With the pruner's `budget` it has as many parameters as any other rule.
    """
    share = strength if keep_share is None or scope == "global" else 1 - keep_share
    return _without_smallest(spectrum, share)


@RULES.register(idempotent=True, random=True, fit=False, control=True)
def random_mask(
    spectrum: Spectrum,
    fit: NoiseFit | None,
    strength: float,
    generator: torch.Generator,
    *,
    keep_share: Share | None = None,
) -> Bool[Tensor, "rows cols"]:
    """Remove entries at random: the control for `magnitude`."""
    share = strength if keep_share is None else 1 - keep_share
    matrix = dense(spectrum.weight).detach()
    priority = torch.rand(matrix.shape, generator=generator, dtype=torch.float64)
    priority = torch.where(matrix.cpu() == 0, -1.0, priority)  # what is gone already is not drawn
    keep = matrix.numel() - share_of(matrix.numel(), share)
    return _largest(priority.flatten(), keep).reshape(matrix.shape).to(matrix.device)


@RULES.register(idempotent=True, random=False)
def universal_threshold(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    delta: Annotated[float, Interval(gt=0, lt=1)] = 0.05,
) -> Bool[Tensor, "rows cols"]:
    """Remove entries of size up to strength · σ̂ √(2 log(2 rows cols / δ)).

    At strength 1, with probability at least 1 − δ no entry of pure noise stays.

    Source: Donoho and Johnstone 1994; the union bound over 2 rows cols Gaussian tails.
    """
    threshold = math.sqrt(2 * fit.variance * math.log(2 * spectrum.rows * spectrum.cols / delta))
    matrix = dense(spectrum.weight).detach()
    return matrix.abs() > strength * threshold


def _shares_by_tail(spectra: Sequence[Spectrum], strength: float, options: Mapping[str, Any]) -> list[float]:
    """Shares in proportion to the tail exponents; layers whose exponent is unknown get the mean."""
    alphas = [hill_alpha(spectrum.eigenvalues, top=options["top"]) for spectrum in spectra]
    known = [alpha for alpha in alphas if math.isfinite(alpha)]
    mean = sum(known) / len(known) if known else 1.0
    return [min(1.0, strength * (alpha if math.isfinite(alpha) else mean) / mean) for alpha in alphas]


@RULES.register(idempotent=False, random=False, fit=False, allocate=_shares_by_tail)
def alpha_budget(
    spectrum: Spectrum,
    fit: NoiseFit | None,
    strength: float,
    generator: torch.Generator,
    *,
    top: Annotated[int, Interval(ge=2, le=10_000)] = 20,
) -> Bool[Tensor, "rows cols"]:
    """Smallest entries again, but layers with a lighter spectral tail (larger Hill α) lose more of theirs.

    The share of a layer is strength · α / mean α, at most 1. `top` is the number of values in the tail.

    Source: Martin, Peng and Mahoney 2021 (tail exponents as quality of a layer); Lu et al. 2024, "AlphaPruning".
    """
    return _without_smallest(spectrum, strength)


def _without_smallest(spectrum: Spectrum, share: float) -> Tensor:
    matrix = dense(spectrum.weight).detach()
    keep = matrix.numel() - share_of(matrix.numel(), share)
    return _largest(matrix.abs().flatten(), keep).reshape(matrix.shape)


def _largest(scores: Tensor, count: int) -> Tensor:
    """Mask of exactly the `count` largest; of equal ones, the first."""
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(scores.numel() - count + 1).values
    above = scores > threshold
    ties = scores == threshold
    return above | (ties & (ties.cumsum(0) <= count - int(above.sum())))
