"""Rules that draw a line between signal and noise and remove from below it."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float64
from torch import Tensor

from rmt.noise import NoiseFit
from rmt.rules.contract import RULES, Share, keep_fraction_below
from rmt.spectrum import Spectrum


@RULES.register(idempotent=True, random=False)
def none(spectrum: Spectrum, fit: NoiseFit, strength: float, generator: torch.Generator) -> Float64[Tensor, " p"]:
    """Remove nothing: the control that every sweep needs."""
    return spectrum.singular_values


@RULES.register(idempotent=True, random=False)
def mp_threshold(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    keep_fraction: Share | None = None,
    horizon: Annotated[int, Ge(1)] | None = None,
) -> Float64[Tensor, " p"]:
    """Keep what is above the Tracy–Widom threshold and a fraction f = 1 − strength of the rest, largest first.

    `horizon` = T replaces the ramp of strength by f = max(0, 1 − epoch / T); the pruner applies it.

    Source: arXiv:2310.03165 and its code (the fraction counts removed values too).
    """
    keep = 1 - strength if keep_fraction is None else keep_fraction
    return keep_fraction_below(spectrum, fit.threshold, keep, fit.bulk)
