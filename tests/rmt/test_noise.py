from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rmt
from rmt.errors import DegenerateSpectrum, InvalidOption, InvalidWeight, UnknownName

# SCIENCE 7.4: seed, rows, cols, σ, θ, leading singular values, σ̂² with the i/p rule and with midpoints, S₊ with
# midpoints at t = 0 and at β = 0.1, K at β = 0.1; α = 0.25 throughout.
PLANTED: list[tuple[int, int, int, float, list[float], list[float], float, float, float, float, int]] = [
    (0, 300, 784, 1 / 28, [4, 3, 2.5, 2, 1.9],
     [4.17357186, 3.21597031, 2.80006284, 2.34874090, 2.25933444, 1.59608157],
     1.2999132711e-3, 1.2954024888e-3, 1.63116214, 1.63483406, 5),
    (1, 512, 512, 512**-0.5, [5, 4, 3, 2, 1.2],
     [5.20069624, 4.21454366, 3.33483570, 2.48452533, 2.01014494, 1.96887012],
     1.9775209952e-3, 1.9704773139e-3, 2.00886474, 2.01331028, 4),
    (3, 1000, 1000, 1000**-0.5, [], [1.98601928],
     1.0023874737e-3, 1.0005593315e-3, 2.00055925, 2.00339376, 0),
    (5, 64, 64, 0.125, [3, 2], [3.27253029, 2.38826599, 1.91338432],
     1.6521988199e-2, 1.6054667744e-2, 2.02731225, 2.04519866, 2),
]  # fmt: skip
# Fit distances of three of them: one-sided with the i/p rule, two-sided with midpoints.
DISTANCES = {0: (0.007007, 0.008594), 3: (0.002391, 0.002865), 5: (0.021730, 0.030457)}


def planted(seed: int, rows: int, cols: int, sigma: float, spikes: list[float]) -> torch.Tensor:
    weight = sigma * np.random.default_rng(seed).standard_normal((rows, cols))
    for i, spike in enumerate(spikes):
        weight[i, i] += spike
    return torch.from_numpy(weight)


def noise(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: f"{case[1]}x{case[2]}")
def test_planted_matrices_have_the_reference_values(case: Any) -> None:
    seed, rows, cols, sigma, spikes, leading, left, midpoint, edge, threshold, count = case
    values = rmt.spectrum(planted(seed, rows, cols, sigma, spikes))
    assert values.singular_values[: len(leading)].tolist() == pytest.approx(leading, rel=1e-7)
    assert rmt.fit(values, "bema", alpha=0.25, index="left").variance == pytest.approx(left, rel=1e-7)
    fit = rmt.fit(values, "bema", alpha=0.25)
    assert fit.variance == pytest.approx(midpoint, rel=1e-7)
    assert fit.variance == pytest.approx(sigma**2, rel=0.03)
    assert fit.singular_edge == pytest.approx(edge, rel=1e-7)
    assert fit.singular_threshold == pytest.approx(threshold, rel=1e-7)
    assert fit.spikes == count
    assert fit.bulk == min(rows, cols) - count
    if seed in DISTANCES:
        one_sided = rmt.fit(values, "bema", alpha=0.25, index="left", wrong_cdf=True).distance
        assert (one_sided, fit.distance) == pytest.approx(DISTANCES[seed], abs=1e-6)


def test_streams_are_those_of_the_reference() -> None:
    first, third = planted(*PLANTED[0][:5]), planted(*PLANTED[2][:5])
    assert (float(first[0, 0]), float(first.norm())) == pytest.approx((4.0044903650, 18.43226065), rel=1e-9)
    assert (float(third[0, 0]), float(third.norm())) == pytest.approx((0.0645395294, 31.62301007), rel=1e-8)


def test_outliers_lie_where_theory_puts_them() -> None:
    _, rows, cols, sigma, spikes, leading, *_ = PLANTED[0]
    aspect, scale = rows / cols, sigma * cols**0.5
    for spike, seen in zip(spikes, leading, strict=False):
        t = spike / scale
        assert t > aspect**0.25
        assert seen == pytest.approx(scale * math.sqrt((t**2 + 1) * (t**2 + aspect)) / t, rel=0.03)


@given(scale=st.floats(1e-4, 1e4), seed=st.integers(0, 50))
@settings(max_examples=25)
def test_fit_scales_and_does_not_see_transposition(scale: float, seed: int) -> None:
    weight = noise(60, 90, seed)
    weight[0, 0] += 40
    fit, scaled, turned = rmt.fit(weight), rmt.fit(scale * weight), rmt.fit(weight.T)
    assert scaled.singular_threshold == pytest.approx(scale * fit.singular_threshold, rel=1e-9)
    assert scaled.spikes == turned.spikes == fit.spikes
    assert turned.singular_threshold == pytest.approx(fit.singular_threshold, rel=1e-9)
    assert (scaled.distance, turned.distance) == pytest.approx((fit.distance, fit.distance), abs=1e-9)


@given(seed=st.integers(0, 50))
@settings(max_examples=10)
def test_rotations_change_nothing(seed: int) -> None:
    weight = noise(60, 80, seed)
    left, right = torch.linalg.qr(noise(60, 60, seed + 1)).Q, torch.linalg.qr(noise(80, 80, seed + 2)).Q
    fit, turned = rmt.fit(weight), rmt.fit(left @ weight @ right)
    assert turned.variance == pytest.approx(fit.variance, rel=1e-9)
    assert turned.spikes == fit.spikes


def test_a_spike_above_the_limit_is_found_and_one_below_is_not() -> None:
    weight, limit = noise(300, 300, 3), rmt.detection_limit(300, 300)
    for factor, expected in ((1.5, 1), (0.5, 0)):
        changed = weight.clone()
        changed[0, 0] += factor * limit
        assert rmt.fit(changed).spikes == expected


@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_truncated_spectrum_is_fitted_on_what_is_left(keep: float) -> None:
    values = noise(400, 400, 1)
    u, s, v = torch.linalg.svd(values)
    count = int(keep * 400)
    truncated = (u[:, :count] * s[:count]) @ v[:count]
    censored = rmt.fit(truncated)
    assert censored.zeros == 400 - count
    assert censored.variance == pytest.approx(1, rel=0.03)
    assert censored.spikes == rmt.fit(values).spikes
    # The public code fits the zeros as values: its estimate falls away and noise turns into spikes.
    public = rmt.fit(truncated, "bema", alpha=0.25, index="left", censored=False)
    assert public.variance < 0.95
    assert public.spikes > 5


def test_wrong_width_has_the_values_of_the_public_code() -> None:
    # SCIENCE 7.2: λ₊/σ² at 1000², right and with (1 + √γ)⁴/3.
    assert rmt.noise_threshold(1000, 1000, 0.1) == pytest.approx(4.011343, abs=1e-6)
    assert rmt.noise_threshold(1000, 1000, 0.9) == pytest.approx(3.929887, abs=1e-6)
    assert rmt.noise_threshold(100, 100, 0.1) == pytest.approx(4.052649, abs=1e-6)
    assert rmt.noise_threshold(100, 100, 0.9) == pytest.approx(3.674565, abs=1e-6)
    assert rmt.noise_threshold(3000, 3000, 0.1) == pytest.approx(4.005453, abs=1e-6)
    assert rmt.noise_threshold(3000, 784, 0.1) == pytest.approx(2.288442, abs=1e-6)
    assert rmt.noise_threshold(784, 3000, 0.9) == pytest.approx(2.254737, abs=1e-6)
    unit = rmt.spectrum(noise(1000, 1000))
    for beta, expected in ((0.1, 4.024008), (0.9, 3.851604)):
        fit = rmt.fit(unit, "bema", beta=beta, wrong_width=True)
        assert fit.threshold / fit.variance == pytest.approx(expected, abs=1e-6)


def test_wrong_cdf_reports_strong_signal_as_a_bad_fit() -> None:
    # SCIENCE 5, B2: with 27 % strong spikes 0.270 with the law's own distribution function, 0.749 without.
    weight = noise(400, 400)
    weight[range(108), range(108)] += 100.0
    fits = [rmt.fit(weight, "bema", alpha=0.25, wrong_cdf=wrong) for wrong in (False, True)]
    assert [fit.distance for fit in fits] == pytest.approx([0.270, 0.749], abs=0.005)


def test_distance_is_judged_against_noise_of_its_size() -> None:
    pure = rmt.fit(noise(300, 400, 2))
    assert pure.distance < pure.distance_null_quantile
    assert pure.distance_p_value > 0.05
    rows = torch.exp(0.5 * noise(300, 1, 5))
    uneven = rmt.fit(rows * noise(300, 400, 2))
    assert uneven.distance > 3 * uneven.distance_null_quantile
    assert uneven.distance_p_value < 0.01


def test_stack_is_fitted_one_by_one() -> None:
    stack = torch.stack([noise(60, 70, seed) for seed in range(3)])
    assert rmt.fit_stack(stack) == [rmt.fit(weight) for weight in stack]
    with pytest.raises(InvalidWeight, match="fit_stack"):
        rmt.fit(stack)


def test_a_replicate_without_a_fit_says_why_and_disturbs_no_other() -> None:
    stack = torch.stack([noise(60, 70, seed) for seed in range(4)])
    clean = rmt.fit_stack(stack)
    stack[1, 2, 3] = math.nan
    stack[2] = 0
    found = rmt.fit_stack(stack)
    assert [found[0], found[3]] == [clean[0], clean[3]]
    assert isinstance(found[1], InvalidWeight)
    assert str(found[1]) == "weight has 1 NaN or infinite entries, the first at (2, 3)"
    assert isinstance(found[2], DegenerateSpectrum)
    with pytest.raises(UnknownName):
        rmt.fit_stack(stack, "bima")


@pytest.mark.parametrize("variance", [-1.0, math.nan, math.inf])
def test_a_variance_that_is_none_is_refused_by_edges(variance: float) -> None:
    with pytest.raises(InvalidOption, match=f"variance is {variance}"):
        rmt.noise_edge(10, 10, variance)
    with pytest.raises(InvalidOption, match=f"variance is {variance}"):
        rmt.noise_threshold(10, 10, 0.1, variance)
    with pytest.raises(InvalidOption, match=f"variance is {variance}"):
        rmt.detection_limit(10, 10, variance)


def test_impossible_sides_and_levels_are_refused_by_edges() -> None:
    with pytest.raises(InvalidOption, match="a matrix of 0 × 5 has no spectrum"):
        rmt.noise_edge(0, 5)
    for beta in (0.0, 1.0, 1.5, math.nan):
        with pytest.raises(InvalidOption, match=rf"beta is {beta}; it must lie in \(0, 1\)"):
            rmt.noise_threshold(5, 5, beta)


@pytest.mark.parametrize("index", ["midpoint", "left"])
def test_the_second_pass_estimates_the_same_variance_whatever_the_level(index: str) -> None:
    weight = noise(200, 300)
    weight[range(4), range(4)] += 3 * rmt.detection_limit(200, 300)
    fits = [rmt.fit(weight, beta=beta, index=index) for beta in (0.01, 0.1, 0.5, 0.9, 0.99)]
    assert {fit.variance for fit in fits} == {fits[1].variance}
    assert fits[-1].spikes > fits[1].spikes == 4  # its threshold is inside the bulk


def test_fit_survives_json() -> None:
    fit = rmt.fit(noise(60, 70))
    assert rmt.NoiseFit(**json.loads(json.dumps(fit.to_dict()))) == fit


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3)])
def test_too_small_to_fit_is_a_named_error(shape: tuple[int, int]) -> None:
    with pytest.raises(DegenerateSpectrum, match="values are left to fit"):
        rmt.fit(noise(*shape))


def test_zero_matrix_is_a_named_error() -> None:
    with pytest.raises(DegenerateSpectrum, match="all 5 values of a 5 × 7 matrix are 0"):
        rmt.fit(torch.zeros(5, 7))


@pytest.mark.parametrize(
    ("noise_kind", "options", "message"),
    [
        ("given", {"variance": -1.0}, r"noise given: variance is -1.0: .* greater than 0"),
        ("bema", {"alpha": 0.5}, "noise bema: alpha is 0.5"),
        ("median", {"alpha": 0.2}, r"noise median: alpha is 0.2: .*\(its options: beta\)"),
    ],
)
def test_impossible_options_are_refused(noise_kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        rmt.fit(noise(50, 50), noise_kind, **options)


def test_unknown_estimator_lists_the_known() -> None:
    with pytest.raises(UnknownName, match=r"unknown noise estimator 'bima'; known: bema, bema_two_pass"):
        rmt.fit(noise(50, 50), "bima")
