"""Makes `rmt/fit_distance.csv`: `python -m rmt.make_fit_distance [FILE]` (about five minutes on one core).

The eigenvalues of a Gaussian matrix are drawn without the matrix: those of B Bᵀ, B bidiagonal with χ entries, have
exactly the same law. Source: Dumitriu and Edelman 2002, "Matrix models for beta ensembles", β = 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigvalsh_tridiagonal

from rmt.estimators import bema_two_pass
from rmt.fit_distance import bulk_distance
from rmt.spectrum import Spectrum

SIDES = (16, 32, 64, 128, 256, 512, 1024)
ASPECTS = (0.1, 0.25, 0.5, 1.0)
LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


def noise_spectrum(smaller: int, larger: int, generator: np.random.Generator) -> Spectrum:
    """Spectrum of a Gaussian matrix of variance 1, drawn in O(p²)."""
    diagonal = np.sqrt(generator.chisquare(larger - np.arange(smaller)))
    below = np.sqrt(generator.chisquare(smaller - 1 - np.arange(smaller - 1)))
    on_diagonal = diagonal**2 + np.concatenate([[0.0], below**2])
    values = eigvalsh_tridiagonal(on_diagonal, diagonal[:-1] * below, lapack_driver="sterf")
    descending = torch.from_numpy(values[::-1].copy()).clamp(min=0) / larger
    return Spectrum(torch.empty(0, dtype=torch.float64), smaller, larger, descending)


def scaled_distances(smaller: int, aspect: float, draws: int, seed: int) -> NDArray[np.float64]:
    """p times the fit distance of `draws` noise spectra."""
    generator, unused = np.random.default_rng(seed), torch.Generator()
    spectra = (noise_spectrum(smaller, round(smaller / aspect), generator) for _ in range(draws))
    found = [(spectrum, bema_two_pass(spectrum, unused)) for spectrum in spectra]
    return smaller * np.array([bulk_distance(spectrum, estimate) for spectrum, estimate in found])


def main(path: Path) -> None:
    """Write a row a side and aspect: quantiles of p times the distance at the levels of the first row."""
    rows = [[0.0, 0.0, *LEVELS]]
    for side in SIDES:
        draws = 4000 if side <= 256 else 1000
        rows += [
            [side, aspect, *np.quantile(scaled_distances(side, aspect, draws, seed=side), LEVELS)]
            for aspect in ASPECTS
        ]
    header = "p times the fit distance of noise: levels in the first row, then a row a smaller side p and aspect"
    np.savetxt(path, rows, delimiter=",", fmt="%.5g", header=header)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("fit_distance.csv"))
