"""How far a spectrum is from the law that was fitted to it, and how far pure noise of its size would be.

Noise spectra are rigid: their distance is of order 1/p, not 1/√p, so that no textbook table applies. The quantiles
in `rmt/fit_distance.csv` are simulated by `rmt/make_fit_distance.py`.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray

from rmt.estimators import Estimate, window
from rmt.marchenko_pastur import MarchenkoPastur
from rmt.spectrum import Spectrum


def bulk_distance(spectrum: Spectrum, estimate: Estimate) -> float:
    """Two-sided Kolmogorov–Smirnov distance on the window of central order statistics, in [0, 1].

    `spectrum` is the part that the estimate describes: the live one, but for an estimate of the whole.
    Excluded spikes are left out of both sides: the lowest p − K values against the law of (p − K) × (n − K).
    """
    count, other = spectrum.smaller - estimate.excluded, spectrum.larger - estimate.excluded
    inside = window(count, estimate.zeros, estimate.alpha)
    ascending = spectrum.eigenvalues.flip(0)[inside] * (spectrum.larger / other)
    fitted = MarchenkoPastur(count / other, estimate.variance).cdf(ascending)
    before = torch.arange(inside.start, inside.stop, dtype=torch.float64) / count
    return float(torch.maximum((fitted - before).abs(), (fitted - before - 1 / count).abs()).max())


def null_quantile(rows: int, cols: int, level: float) -> float:
    """Quantile of `bulk_distance` for Gaussian noise of this size, fitted by the default estimator.

    Simulated for smaller sides from 16 to 1,024 and aspects from 0.1 to 1; times the smaller side, it is
    interpolated in the logarithms of both and constant beyond.
    """
    levels, scaled = _quantiles_at(rows, cols)
    return float(np.interp(level, levels, scaled)) / min(rows, cols)


def null_p_value(rows: int, cols: int, distance: float) -> float:
    """Share of noise matrices of this size that are at least this far away; within 0.001 … 0.99."""
    levels, scaled = _quantiles_at(rows, cols)
    return float(1 - np.interp(distance * min(rows, cols), scaled, levels))


@lru_cache(maxsize=512)
def _quantiles_at(rows: int, cols: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sides, aspects, levels, scaled = _table()
    smaller, larger = sorted((rows, cols))
    at_side = [[np.interp(np.log(smaller), np.log(sides), column) for column in table.T] for table in scaled]
    at = [np.interp(np.log(smaller / larger), np.log(aspects), each) for each in zip(*at_side, strict=True)]
    return levels, np.array(at)


@cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sides, aspects, levels, and quantiles by aspect, side and level."""
    with (files("rmt") / "fit_distance.csv").open() as lines:
        rows = np.loadtxt(lines, delimiter=",")
    sides, aspects = np.unique(rows[1:, 0]), np.unique(rows[1:, 1])
    return sides, aspects, rows[0, 2:], rows[1:, 2:].reshape(len(sides), len(aspects), -1).swapaxes(0, 1)
