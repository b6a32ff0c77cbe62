"""How far a spectrum is from the law that was fitted to it, and how far pure noise of its size would be.

Noise spectra are rigid: their distance is of order 1/p, not 1/√p, so that no textbook table applies. The quantiles
in `rmt/fit_distance.csv` are simulated by `rmt/make_fit_distance.py`.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray

from rmt.estimators import Estimate, window
from rmt.marchenko_pastur import MarchenkoPastur
from rmt.spectrum import Spectrum


def bulk_distance(spectrum: Spectrum, estimate: Estimate) -> float:
    """Two-sided Kolmogorov–Smirnov distance on the window of central order statistics, in [0, 1].

    Excluded spikes are left out of both sides: the lowest p − K values against the law of (p − K) × (n − K).
    """
    count, other = spectrum.smaller - estimate.excluded, spectrum.larger - estimate.excluded
    inside = window(count, estimate.zeros, estimate.alpha)
    ascending = spectrum.eigenvalues.flip(0)[inside] * (spectrum.larger / other)
    fitted = MarchenkoPastur(count / other, estimate.variance).cdf(ascending)
    before = torch.arange(inside.start, inside.stop, dtype=torch.float64) / count
    return float(torch.maximum((fitted - before).abs(), (fitted - before - 1 / count).abs()).max())


def null_quantile(smaller: int, level: float) -> float:
    """Quantile of `bulk_distance` for Gaussian noise with this smaller side, fitted by the default estimator.

    Simulated for sides from 16 to 1,024; times the side, it is interpolated in the side's logarithm and constant
    beyond. Aspects from 0.1 to 1, which differ by less than a tenth, are pooled.
    """
    levels, scaled = _quantiles_at(smaller)
    return float(np.interp(level, levels, scaled)) / smaller


def null_p_value(smaller: int, distance: float) -> float:
    """Share of noise matrices with this smaller side that are at least this far away; within 0.001 … 0.99."""
    levels, scaled = _quantiles_at(smaller)
    return float(1 - np.interp(distance * smaller, scaled, levels))


def _quantiles_at(smaller: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sides, levels, scaled = _table()
    at = [np.interp(np.log(smaller), np.log(sides), column) for column in scaled.T]
    return levels, np.array(at)


@cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    with (files("rmt") / "fit_distance.csv").open() as lines:
        rows = np.loadtxt(lines, delimiter=",")
    return rows[1:, 0], rows[0, 1:], rows[1:, 1:]
