"""Bias, false positives and recall of the noise fit: `python benchmarks/core_statistics.py [matrices]`.

White noise spectra are drawn in O(p²) (`rmt.make_fit_distance.noise_spectrum`), exactly as from a Gaussian matrix;
spikes are planted in real matrices. Prints a table with standard errors and what each number must be.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import torch

import rmt
from rmt.make_fit_distance import noise_spectrum

SHAPES = ((200, 200), (200, 400), (200, 2000), (300, 300), (400, 1000))


def white(rows: int, cols: int, draws: int) -> Iterator[rmt.NoiseFit]:
    """Fits of white noise of variance 1."""
    generator = np.random.default_rng([rows, cols])
    return (rmt.fit(noise_spectrum(rows, cols, generator)) for _ in range(draws))


def planted(rows: int, cols: int, spikes: int, factor: float, draws: int) -> Iterator[rmt.NoiseFit]:
    """Fits of white noise with `spikes` values of `factor` times the detection limit, in random directions."""
    generator = torch.Generator().manual_seed(rows * 10_000 + cols)
    strength = factor * rmt.detection_limit(rows, cols)
    for _ in range(draws):
        noise = torch.randn(rows, cols, generator=generator, dtype=torch.float64)
        left = torch.linalg.qr(torch.randn(rows, spikes, generator=generator, dtype=torch.float64)).Q
        right = torch.linalg.qr(torch.randn(cols, spikes, generator=generator, dtype=torch.float64)).Q
        yield rmt.fit(noise + strength * left @ right.mT)


def bias(fits: Iterator[rmt.NoiseFit]) -> tuple[float, float]:
    """Mean of σ̂² − 1 and its standard error."""
    values = np.array([fit.variance for fit in fits]) - 1
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def main(matrices: int) -> None:
    print(f"{'what':<44}{'shape':>12}{'matrices':>10}{'found':>10}{'± s.e.':>9}  must be")
    for rows, cols in SHAPES:
        shape = f"{rows}x{cols}"
        mean, error = bias(white(rows, cols, matrices))
        print(
            f"{'bias of the variance, white noise':<44}{shape:>12}{matrices:>10}{mean:>10.2%}{error:>9.2%} < 0.4 %"
        )
        few = matrices // 3
        mean, error = bias(planted(rows, cols, rows // 50, 3.0, few))
        print(f"{'bias, p/50 spikes at 3 x the limit':<44}{shape:>12}{few:>10}{mean:>10.2%}{error:>9.2%}  < 0.8 %")
        share = np.mean([fit.spikes > 0 for fit in white(rows, cols, 3 * matrices)])
        error = (share * (1 - share) / (3 * matrices)) ** 0.5
        name = "false positives at beta 0.1"
        print(f"{name:<44}{shape:>12}{3 * matrices:>10}{share:>10.4f}{error:>9.4f}  0.065 ... 0.12")
        found = np.mean([min(fit.spikes, 3) / 3 for fit in planted(rows, cols, 3, 1.5, few)])
        name = "recall of 3 spikes at 1.5 x the limit"
        print(f"{name:<44}{shape:>12}{few:>10}{found:>10.4f}{'':>9}  >= 0.95", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
