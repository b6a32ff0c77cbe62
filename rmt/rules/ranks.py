"""Rules that fix how many values stay without asking what is noise, and controls for those that do."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from jaxtyping import Float64
from torch import Tensor

from rmt.noise import NoiseFit
from rmt.rules.contract import RULES, Horizon, Share, keep_largest, kept_rank, share_of
from rmt.spectrum import Spectrum


@RULES.register(idempotent=False, random=False, fit=False)
def energy(
    spectrum: Spectrum,
    fit: NoiseFit | None,
    strength: float,
    generator: torch.Generator,
    *,
    share: Share | None = None,
) -> Float64[Tensor, " p"]:
    """Keep the fewest values with this share of ‖W‖²_F; 1 − strength unless given.

    Not idempotent: the share is one of what is left.
    """
    kept = 1 - strength if share is None else share
    if kept >= 1:
        return spectrum.singular_values
    cumulated = spectrum.eigenvalues.cumsum(0)
    enough = int(torch.searchsorted(cumulated, kept * cumulated[-1])) + 1
    return keep_largest(spectrum, enough if kept > 0 else 0)


@RULES.register(idempotent=True, random=False, fit=False)
def rank(
    spectrum: Spectrum,
    fit: NoiseFit | None,
    strength: float,
    generator: torch.Generator,
    *,
    rank: Annotated[int, Ge(0)] | None = None,
    share: Share | None = None,
) -> Float64[Tensor, " p"]:
    """Keep the largest values: `rank` of them, or a share of all p; the share is 1 − strength unless given."""
    if rank is not None:
        return keep_largest(spectrum, rank)
    return keep_largest(spectrum, share_of(spectrum.smaller, 1 - strength if share is None else share))


@RULES.register(version=2, idempotent=True, random=True, control=True)
def random_rank(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    keep_fraction: Share | None = None,
    horizon: Horizon | None = None,
    keep_spikes: bool = True,
) -> Float64[Tensor, " p"]:
    """Keep the spikes and as many others as `mp_threshold` would, but drawn at random.

    With `keep_spikes=False` all are drawn. The control for whether it matters which of the bulk stays.

    Source: the public notebook's third variant.
    """
    keep = 1 - strength if keep_fraction is None else keep_fraction
    priority = torch.rand(spectrum.smaller, generator=generator, dtype=torch.float64)
    wanted = fit.spikes + share_of(fit.bulk, keep)
    if keep_spikes:
        wanted = kept_rank(spectrum, fit.threshold, keep)
        priority[spectrum.eigenvalues > fit.threshold] = 2.0
    priority[spectrum.nonzero :] = -1.0  # what is gone already is not drawn
    stays = torch.zeros(spectrum.smaller, dtype=torch.bool)
    stays[priority.argsort(descending=True)[:wanted]] = True
    return torch.where(stays, spectrum.singular_values, 0.0)


@RULES.register(version=2, idempotent=True, random=False, control=True)
def reverse(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    keep_fraction: Share | None = None,
    horizon: Horizon | None = None,
) -> Float64[Tensor, " p"]:
    """Remove as many values as `mp_threshold` would, but the largest ones: the control that must do harm."""
    keep = 1 - strength if keep_fraction is None else keep_fraction
    kept = fit.spikes + share_of(fit.bulk, keep)  # not a count of spikes now: it is they that it removes
    values = spectrum.singular_values.clone()
    values[: max(spectrum.nonzero - kept, 0)] = 0
    return values
