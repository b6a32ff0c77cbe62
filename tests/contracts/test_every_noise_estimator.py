"""What holds for every noise estimator: registering one puts it under test here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import rmt
from rmt import NOISE
from rmt.errors import DegenerateSpectrum

every_estimator = pytest.mark.parametrize("name", NOISE)
# Options without which an estimator knows nothing of the matrix: the tests' noise has this variance.
VARIANCE = 0.37
NEEDED: dict[str, dict[str, Any]] = {"given": {"variance": VARIANCE}}


def noise(rows: int, cols: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return VARIANCE**0.5 * torch.randn(rows, cols, generator=generator, dtype=torch.float64)


def fit(name: str, weight: Any, **options: Any) -> rmt.NoiseFit:
    return rmt.fit(weight, name, **{**NEEDED.get(name, {}), **options})


@every_estimator
def test_it_is_documented_and_has_beta(name: str) -> None:
    assert len(NOISE[name].summary) > 20
    assert NOISE[name].validate({})["beta"] == 0.1


@every_estimator
@pytest.mark.parametrize("shape", [(200, 200), (200, 800), (300, 120)])
def test_it_recovers_the_variance_of_white_noise(name: str, shape: tuple[int, int]) -> None:
    found = [fit(name, noise(*shape, seed)) for seed in range(5)]
    # Standard deviations of single fits are 0.4–1.3 % of the variance (the median's the largest).
    assert sum(each.variance for each in found) / 5 == pytest.approx(VARIANCE, rel=0.02)
    assert sum(each.spikes for each in found) <= 3
    assert all(each.distance < 3 * each.distance_null_quantile for each in found)
    assert all(each.edge == pytest.approx(rmt.noise_edge(*shape, each.variance)) for each in found)


@every_estimator
def test_it_finds_a_strong_spike(name: str) -> None:
    # Spread over all entries: shuffling does not see one that sits in a single entry.
    direction = torch.ones(200, 1, dtype=torch.float64) / 200**0.5, noise(1, 300, 9)
    spike = direction[0] @ (direction[1] / direction[1].norm())
    assert fit(name, noise(200, 300) + 5 * rmt.detection_limit(200, 300, VARIANCE) * spike).spikes == 1


@every_estimator
def test_a_larger_beta_lowers_the_threshold(name: str) -> None:
    weight = noise(100, 150)
    thresholds = [fit(name, weight, beta=beta).threshold for beta in (0.01, 0.1, 0.5, 0.9)]
    assert thresholds == sorted(thresholds, reverse=True)


@every_estimator
def test_transposition_changes_nothing_and_scale_scales(name: str) -> None:
    weight = noise(100, 150)
    straight = fit(name, weight)
    options = {"variance": 9 * VARIANCE} if name == "given" else {}
    scaled = fit(name, 3 * weight, **options)
    assert scaled.variance == pytest.approx(9 * straight.variance, rel=1e-9)
    assert scaled.threshold == pytest.approx(9 * straight.threshold, rel=1e-9)
    turned = fit(name, weight.mT)
    assert turned.variance == pytest.approx(straight.variance, rel=1e-9)


@every_estimator
def test_the_same_call_gives_the_same_answer(name: str) -> None:
    weight = noise(60, 70)
    assert fit(name, weight) == fit(name, weight)


@every_estimator
def test_factors_are_fitted_like_their_product(name: str) -> None:
    u, s, v = torch.linalg.svd(noise(100, 150), full_matrices=False)
    factors = rmt.Factors(u[:, :60] * s[:60], v[:60])
    ours, theirs = fit(name, factors), fit(name, factors.compose())
    assert ours.zeros == theirs.zeros == 40
    assert ours.variance == pytest.approx(theirs.variance, rel=1e-6)


@every_estimator
def test_zero_matrices_are_a_named_error(name: str) -> None:
    with pytest.raises(DegenerateSpectrum):
        fit(name, torch.zeros(60, 70))
