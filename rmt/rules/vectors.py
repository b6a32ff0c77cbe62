"""Rules that look at singular vectors."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import kolmogorov
from torch import Tensor

from rmt.noise import NoiseFit
from rmt.rebuild import singular_vectors
from rmt.rules.contract import RULES, Share
from rmt.spectrum import Spectrum

# A budget asks the rule many times about one spectrum; the vectors do not change.
_P_VALUES: WeakKeyDictionary[Spectrum, Tensor] = WeakKeyDictionary()


@RULES.register(version=2, idempotent=True, random=False)
def haar(
    spectrum: Spectrum,
    fit: NoiseFit,
    strength: float,
    generator: torch.Generator,
    *,
    level: Share | None = None,
) -> Float64[Tensor, " p"]:
    """Remove directions below the threshold whose two vectors both look like random ones.

    The entries of a random unit vector in n dimensions are nearly normal with variance 1/n (Porter and Thomas). A
    direction goes when the Kolmogorov–Smirnov p-values of both vectors are above `level`, 1 − strength unless
    given: at strength 0.95 those go that pass at the usual 5 %.

    Source: Staats, Thamm and Rosenow 2022 (arXiv:2206.03927), the removal of small random-looking directions.
    """
    chosen = 1 - strength if level is None else level
    if spectrum not in _P_VALUES:
        _P_VALUES[spectrum] = randomness(spectrum)
    random_looking = _P_VALUES[spectrum] > chosen
    below = spectrum.eigenvalues <= fit.threshold
    return torch.where(below & random_looking, 0.0, spectrum.singular_values)


def randomness(spectrum: Spectrum) -> Float64[Tensor, " p"]:
    """The smaller p-value of the two singular vectors of each non-zero value; 0 where the value is zero.

    Random directions are those of the live part: entries of dead rows and columns are zero in all of them.
    """
    live = spectrum.live
    count = live.nonzero
    values = torch.zeros(spectrum.smaller, dtype=torch.float64)
    if count:
        left, right = singular_vectors(live, torch.arange(count))
        values[:count] = torch.minimum(_normality(left), _normality(right)).cpu()
    return values


def _normality(vectors: Tensor) -> Tensor:
    """p-values of the columns as draws from N(0, 1/n)."""
    size = len(vectors)
    uniform = torch.special.ndtr(vectors.sort(dim=0).values * size**0.5)
    before = (torch.arange(size, dtype=torch.float64, device=vectors.device) / size)[:, None]
    distance = torch.maximum((uniform - before).abs(), (uniform - before - 1 / size).abs()).amax(dim=0)
    return torch.from_numpy(np.asarray(kolmogorov((size**0.5 * distance).cpu().numpy())))
