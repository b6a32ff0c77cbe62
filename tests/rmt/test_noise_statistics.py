"""Bias, false positives and recall in a size for every day; `benchmarks/core_statistics.py` has the full one.

Draws are fixed, so these do not flicker; limits are those of the full size plus two standard errors of this one.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import rmt
from rmt.fit_distance import null_quantile
from rmt.make_fit_distance import noise_spectrum, scaled_distances

SHAPES = [(200, 200), (200, 400), (200, 2000)]


def white(rows: int, cols: int, draws: int) -> list[rmt.NoiseFit]:
    generator = np.random.default_rng([rows, cols])
    return [rmt.fit(noise_spectrum(rows, cols, generator)) for _ in range(draws)]


def planted(rows: int, cols: int, spikes: int, factor: float, draws: int) -> list[rmt.NoiseFit]:
    """Spikes of `factor` times the detection limit; on the diagonal, since noise does not know directions."""
    generator = torch.Generator().manual_seed(rows + cols)
    strength = factor * rmt.detection_limit(rows, cols)
    fits = []
    for _ in range(draws):
        weight = torch.randn(rows, cols, generator=generator, dtype=torch.float64)
        weight[range(spikes), range(spikes)] += strength
        fits.append(rmt.fit(weight))
    return fits


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_white_noise_gives_its_variance_and_few_spikes(shape: tuple[int, int]) -> None:
    fits = white(*shape, 400)
    variances = np.array([fit.variance for fit in fits])
    error = variances.std() / 20
    assert abs(variances.mean() - 1) < 0.004 + 2 * error
    share = np.mean([fit.spikes > 0 for fit in fits])
    assert 0.065 - 0.03 < share < 0.12 + 0.03  # 0.03: two standard errors of a share of 0.1 in 400


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_spikes_are_found_and_do_not_bias_the_variance(shape: tuple[int, int]) -> None:
    strong = planted(*shape, shape[0] // 50, 3.0, 25)
    variances = np.array([fit.variance for fit in strong])
    assert abs(variances.mean() - 1) < 0.008 + 2 * variances.std() / 5
    weak = planted(*shape, 3, 1.5, 25)
    assert np.mean([min(fit.spikes, 3) / 3 for fit in weak]) >= 0.95


def test_the_second_pass_takes_the_bias_of_spikes_away() -> None:
    # SCIENCE 5, B4: 200 × 800, 20 spikes: +7.7 % in one pass, −0.24 % in two.
    generator = torch.Generator().manual_seed(0)
    ratios: dict[str, list[float]] = {"bema": [], "bema_two_pass": []}
    for _ in range(10):
        weight = torch.randn(200, 800, generator=generator, dtype=torch.float64)
        weight[range(20), range(20)] += 3 * rmt.detection_limit(200, 800)
        spectrum = rmt.spectrum(weight)
        for name, values in ratios.items():
            values.append(rmt.fit(spectrum, name).variance - 1)
    assert np.mean(ratios["bema"]) > 0.05
    assert abs(np.mean(ratios["bema_two_pass"])) < 0.01


def test_drawn_spectra_have_the_law_of_real_ones() -> None:
    """Mean and spread of trace and largest value, O(p²) draws against matrices."""
    generator = np.random.default_rng(0)
    drawn = torch.stack([noise_spectrum(30, 50, generator).eigenvalues for _ in range(400)])
    noise = torch.randn(400, 30, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    real = rmt.spectrum(noise).eigenvalues
    for statistic in (lambda values: values.mean(1), lambda values: values[:, 0], lambda values: values[:, -1]):
        one, other = statistic(drawn), statistic(real)
        spread = float((one.var() / 400 + other.var() / 400).sqrt())
        assert abs(float(one.mean() - other.mean())) < 3 * spread
        assert 0.8 < float(one.std() / other.std()) < 1.25


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_a_threshold_inside_the_bulk_does_not_bias_the_variance(beta: float) -> None:
    generator = np.random.default_rng(0)
    variances = np.array([rmt.fit(noise_spectrum(200, 300, generator), beta=beta).variance for _ in range(150)])
    assert abs(variances.mean() - 1) < 0.002 + 2 * variances.std() / 150**0.5


@pytest.mark.parametrize(("smaller", "aspect"), [(64, 1.0), (200, 0.3), (64, 0.1), (100, 0.05)])
def test_the_null_quantile_of_the_distance_is_one(smaller: int, aspect: float) -> None:
    distances = scaled_distances(smaller, aspect, 600, seed=99) / smaller
    share = float(np.mean(distances > null_quantile(smaller, round(smaller / aspect), 0.95)))
    assert 0.05 - 0.02 < share < 0.05 + 0.02  # 0.02: two standard errors, the table's own included
