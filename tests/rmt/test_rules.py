"""What single rules promise beyond the contract of all rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from torch import Tensor

import rmt
from rmt import RULES
from rmt.rebuild import rebuild
from rmt.rules.thresholds import hard_threshold
from rmt.rules.vectors import randomness


def noise(rows: int, cols: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def apply(
    name: str, spectrum: rmt.Spectrum, fit: Any, strength: float = 1.0, seed: int = 0, **options: Any
) -> Tensor:
    entry = RULES[name]
    generator = torch.Generator().manual_seed(seed)
    return entry.function(spectrum, fit, strength, generator, **entry.validate(options))


def at(y: float, aspect: float, name: str) -> float:
    """What a shrinker makes of one value y = s/(σ√n) of a matrix with σ = 1."""
    rows, cols = round(1000 * aspect), 1000
    eigenvalues = torch.zeros(rows, dtype=torch.float64)
    eigenvalues[0] = y**2
    spectrum = rmt.Spectrum(torch.empty(0), rows, cols, eigenvalues)
    fit = rmt.fit(noise(rows, cols), "given", variance=1.0)
    return float(apply(name, spectrum, fit)[0]) / 1000**0.5


# SCIENCE 7.3: γ, λ*(γ), ω(γ).
@pytest.mark.parametrize(
    ("aspect", "relative", "of_median"),
    [(0.1, 1.58164840, 1.60877156), (0.25, 1.75802938, 1.83686579), (0.5, 1.97859905, 2.17118535),
     (1.0, 2.30940108, 2.85836242)],
)  # fmt: skip
def test_hard_threshold_has_the_reference_values(aspect: float, relative: float, of_median: float) -> None:
    assert hard_threshold(aspect) == pytest.approx(relative, abs=1e-8)
    median = float(rmt.MarchenkoPastur(aspect).median)
    assert hard_threshold(aspect) / median**0.5 == pytest.approx(of_median, abs=1e-8)


def test_hard_threshold_draws_its_line_there() -> None:
    weight = noise(100, 200)
    spectrum = rmt.spectrum(weight)
    for level in ("fit", "median"):
        kept = apply("gavish_donoho", spectrum, rmt.fit(spectrum), noise_level=level)
        assert int(torch.count_nonzero(kept)) == 0
    weight[0, 0] += 60
    spectrum = rmt.spectrum(weight)
    for level in ("fit", "median"):
        kept = apply("gavish_donoho", spectrum, rmt.fit(spectrum), noise_level=level)
        assert int(torch.count_nonzero(kept)) == 1


# SCIENCE 7.3, shrinkage in the Frobenius norm: γ, y, d.
@pytest.mark.parametrize(
    ("aspect", "y", "shrunk"),
    [(1.0, 2.1, 0.64031242), (1.0, 2.5, 1.5), (1.0, 3.0, 5**0.5), (0.5, 2.5, 1.81383571), (0.5, 3.0, 2.45515331),
     (0.25, 2.1, 1.42742811), (0.25, 3.0, 2.56173769)],
)  # fmt: skip
def test_frobenius_shrinkage_has_the_reference_values(aspect: float, y: float, shrunk: float) -> None:
    assert at(y, aspect, "shrink_frobenius") == pytest.approx(shrunk, abs=1e-8)


NORMS: dict[str, Callable[[np.ndarray], float]] = {
    "shrink_frobenius": lambda error: float(np.linalg.norm(error, "fro")),
    "shrink_operator": lambda error: float(np.linalg.norm(error, 2)),
    "shrink_nuclear": lambda error: float(np.linalg.norm(error, "nuc")),
}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("aspect", [0.25, 0.4, 1.0])
@pytest.mark.parametrize("x", [1.3, 2.0, 3.0])
def test_shrinkage_minimises_its_norm(name: str, aspect: float, x: float) -> None:
    """Asymptotically a spike x·e₁e₁ᵀ is seen as y with vectors at known angles; minimise over d directly."""
    y = math.sqrt((x**2 + 1) * (x**2 + aspect)) / x
    left = (x**4 - aspect) / (x**4 + aspect * x**2)
    right = (x**4 - aspect) / (x**4 + x**2)
    u, v = (np.array([math.sqrt(c), math.sqrt(1 - c)]) for c in (left, right))
    signal = np.diag([x, 0.0])
    best = minimize_scalar(
        lambda d: NORMS[name](signal - d * np.outer(u, v)),
        bounds=(0, 2 * y),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert at(y, aspect, name) == pytest.approx(best.x, abs=2e-5)


def test_operator_shrinkage_is_not_the_inverse_map_off_the_square() -> None:
    y = math.sqrt((4 + 1) * (4 + 0.4)) / 2
    assert at(y, 0.4, "shrink_operator") == pytest.approx(1.87617, abs=1e-5)
    assert at(2.5, 1.0, "shrink_operator") == pytest.approx(2.0, abs=1e-9)


@pytest.mark.slow
def test_error_to_the_true_signal_is_that_of_theory() -> None:
    """SCIENCE 6: 300 × 1200, five spikes: the shrinker beats both thresholds, each beats no pruning by far."""
    signal = torch.zeros(300, 1200, dtype=torch.float64)
    signal[range(5), range(5)] = torch.tensor([4.0, 3.0, 2.5, 2.0, 1.5], dtype=torch.float64)
    errors = {}
    for name in ("none", "mp_edge", "gavish_donoho", "shrink_frobenius"):
        squares = []
        for seed in range(4):
            spectrum = rmt.spectrum(signal + noise(300, 1200, seed) / 1200**0.5)
            values = apply(name, spectrum, rmt.fit(spectrum))
            result = rebuild(spectrum, values)
            product = result.compose() if isinstance(result, rmt.Factors) else result
            squares.append(float((product - signal).square().sum()))
        errors[name] = sum(squares) / 4
    assert errors["none"] == pytest.approx(300, rel=0.02)
    assert errors["shrink_frobenius"] < errors["gavish_donoho"] <= errors["mp_edge"] < 10


def test_bulk_is_shrunk_and_spikes_are_not() -> None:
    weight = noise(60, 80)
    weight[0, 0] += 40
    spectrum = rmt.spectrum(weight)
    halved = apply("bulk_shrink", spectrum, rmt.fit(spectrum), factor=0.5)
    assert float(halved[0]) == float(spectrum.singular_values[0])
    torch.testing.assert_close(halved[1:], 0.5 * spectrum.singular_values[1:])


@settings(max_examples=20)
@given(share=st.floats(0.01, 0.999))
def test_energy_keeps_the_fewest_values_with_its_share(share: float) -> None:
    spectrum = rmt.spectrum(noise(50, 60))
    values = apply("energy", spectrum, rmt.fit(spectrum), share=share)
    kept, total = float(values.square().sum()), float(spectrum.singular_values.square().sum())
    last = float(values[values > 0][-1])
    assert kept >= share * total * (1 - 1e-12)
    assert kept - last**2 < share * total


def test_rank_and_shares_count() -> None:
    spectrum = rmt.spectrum(noise(50, 60))
    assert int(torch.count_nonzero(apply("rank", spectrum, rmt.fit(spectrum), rank=7))) == 7
    assert int(torch.count_nonzero(apply("rank", spectrum, rmt.fit(spectrum), share=0.5))) == 25
    assert int(torch.count_nonzero(apply("rank", spectrum, rmt.fit(spectrum), strength=0.9))) == 5


def test_random_rank_keeps_as_many_as_the_threshold_and_the_spikes() -> None:
    weight = noise(60, 80)
    weight[range(2), range(2)] += 40
    spectrum = rmt.spectrum(weight)
    fit = rmt.fit(spectrum)
    expected = int(torch.count_nonzero(apply("mp_threshold", spectrum, fit, 0.5)))
    chosen = [apply("random_rank", spectrum, fit, 0.5, seed) for seed in range(5)]
    assert {int(torch.count_nonzero(values)) for values in chosen} == {expected}
    assert all(bool((values[:2] > 0).all()) for values in chosen)
    assert len({tuple((values > 0).tolist()) for values in chosen}) == 5
    free = [apply("random_rank", spectrum, fit, 0.5, seed, keep_spikes=False) for seed in range(9)]
    assert {int(torch.count_nonzero(values)) for values in free} == {expected}
    assert not all(bool((values[:2] > 0).all()) for values in free)


def test_reverse_removes_the_top() -> None:
    weight = noise(60, 80)
    weight[0, 0] += 40
    spectrum = rmt.spectrum(weight)
    fit = rmt.fit(spectrum)
    removed = int((apply("mp_threshold", spectrum, fit, 0.5) == 0).sum())
    values = apply("reverse", spectrum, fit, 0.5)
    assert bool((values[:removed] == 0).all())
    assert torch.equal(values[removed:], spectrum.singular_values[removed:])


@settings(max_examples=20)
@given(share=st.floats(0, 1), seed=st.integers(0, 20))
def test_masks_keep_exactly_their_share(share: float, seed: int) -> None:
    weight = noise(20, 30, seed).round(decimals=1)  # with ties
    spectrum = rmt.spectrum(weight)
    expected = 600 - math.floor(share * 600 + 1e-9)
    largest = apply("magnitude", spectrum, rmt.fit(spectrum), share)
    assert int(largest.sum()) == expected
    if 0 < expected < 600:
        assert float(weight.abs()[largest].min()) >= float(weight.abs()[~largest].max())
    assert int(apply("random_mask", spectrum, rmt.fit(spectrum), share, seed).sum()) == expected


def test_global_magnitude_is_one_threshold_for_all_layers() -> None:
    layers = [rmt.Layer("wide", "linear", 50, 60), rmt.Layer("narrow", "linear", 50, 60)]
    weights = {"wide": [2 * noise(50, 60)], "narrow": [noise(50, 60, 1)]}
    pruner = rmt.Pruner(
        layers, rule="magnitude", aggressiveness=0.5, options={"scope": "global"}, every=1, epochs=2
    )
    cuts = pruner.cut(weights, 1, [rmt.Memory()], [torch.Generator()])
    masks = {name: column[0].mask for name, column in cuts.items()}
    threshold = torch.cat([weights[name][0].abs().flatten() for name in weights]).median()
    for name, mask in masks.items():
        assert mask is not None
        torch.testing.assert_close(mask, weights[name][0].abs() > threshold)


def test_universal_threshold_leaves_no_noise_and_every_strong_entry() -> None:
    left = 0
    for seed in range(20):
        weight = noise(60, 80, seed)
        threshold = math.sqrt(2 * math.log(2 * 60 * 80 / 0.05))
        weight[0, :5] = 2.1 * threshold
        spectrum = rmt.spectrum(weight)
        mask = apply("universal_threshold", spectrum, rmt.fit(spectrum, "given", variance=1.0))
        assert bool(mask[0, :5].all())
        left += int(mask.sum()) > 5
    assert left <= 4  # 20 · 0.05 expected at most; P(more than 4) < 0.3 %


def test_haar_removes_random_directions_and_keeps_localised_ones() -> None:
    weight = noise(100, 120)
    spectrum = rmt.spectrum(weight)
    values = randomness(spectrum)
    # p-values of random directions are roughly uniform (the smaller of two: mean 1/3) …
    assert 0.25 < float(values.mean()) < 0.5
    assert int(torch.count_nonzero(apply("haar", spectrum, rmt.fit(spectrum), 0.95))) < 20
    # … and a direction of one entry is not random at all, even below the threshold.
    basis = torch.eye(100, 120, dtype=torch.float64) * torch.linspace(2, 1, 100, dtype=torch.float64)[:, None]
    localised = rmt.spectrum(basis)
    assert float(randomness(localised).max()) < 1e-6


def test_alpha_budget_takes_more_from_light_tails() -> None:
    heavy = torch.from_numpy(np.random.default_rng(0).standard_t(2.0, (60, 80)))
    layers = [rmt.Layer("heavy", "linear", 60, 80), rmt.Layer("light", "linear", 60, 80)]
    pruner = rmt.Pruner(layers, rule="alpha_budget", aggressiveness=0.4, every=1, epochs=2)
    weights = {"heavy": [heavy], "light": [noise(60, 80)]}
    cuts = pruner.cut(weights, 1, [rmt.Memory()], [torch.Generator()])
    kept = {name: rmt.parameters(column[0].weight) / 4800 for name, column in cuts.items()}
    assert kept["heavy"] > kept["light"]
    assert (kept["heavy"] + kept["light"]) / 2 == pytest.approx(0.6, abs=0.001)
