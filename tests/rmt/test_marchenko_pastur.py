from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmt import MarchenkoPastur
from rmt.errors import InvalidOption
from rmt.marchenko_pastur import quantile_table

# Values of SCIENCE 7.1: quadrature at 40 digits, the root singularity substituted away.
CDF = {
    0.1: {0.5: 0.014221150826, 1.0: 0.533637372054, 1.5: 0.920801741168},
    0.25: {0.5: 0.186378408242, 1.0: 0.553390081275, 2.0: 0.965630021966},
    0.5: {0.5: 1 / math.pi, 1.0: 0.576004215104, 2.0: 0.881191311673},
    1.0: {0.25: 0.314962357526, 1.0: 0.608997781044, 2.0: 0.5 + 1 / math.pi, 3.0: 0.942331114378},
}
PROBABILITIES = [0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95]
QUANTILES = {
    1 / 300: [
        0.908786270781, 0.921668885310, 0.952981898269, 0.998888779051,
        1.04624648889, 1.08030498132, 1.09475744398,
    ],
    0.1: [
        0.545891090325, 0.597743759756, 0.735320504479, 0.966565147403,
        1.24152789539, 1.46166209896, 1.56061950353,
    ],
    0.25: [
        0.336199513219, 0.397880755859, 0.576628552741, 0.916004070687,
        1.36548068333, 1.75142282907, 1.93090226088,
    ],
    784 / 3000: [
        0.324796296962, 0.386614369392, 0.566924967692, 0.912162401555,
        1.37255896812, 1.76952294445, 1.95448230919,
    ],
    0.5: [
        0.152970746074, 0.208889886398, 0.398253771661, 0.830465881581,
        1.48592161355, 2.09269484208, 2.38434221286,
    ],
    1.0: [
        0.00617167721069, 0.0247249757537, 0.156252528876, 0.652775941634,
        1.61139968646, 2.59457120790, 3.08592074477,
    ],
}  # fmt: skip

aspects = st.floats(1e-4, 1.0)
variances = st.floats(1e-6, 1e6)


def double(values: Sequence[float] | Sequence[Sequence[float]] | float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("aspect", CDF)
def test_cdf_has_the_reference_values(aspect: float) -> None:
    points, values = zip(*CDF[aspect].items(), strict=True)
    found = MarchenkoPastur(aspect).cdf(double(list(points)))
    torch.testing.assert_close(found, double(list(values)), rtol=0, atol=1e-11)


@pytest.mark.parametrize("aspect", QUANTILES)
def test_quantiles_have_the_reference_values(aspect: float) -> None:
    found = MarchenkoPastur(aspect).ppf(double(PROBABILITIES))
    torch.testing.assert_close(found, double(QUANTILES[aspect]), rtol=0, atol=1e-11)


def test_edges_of_the_layer_of_the_paper() -> None:
    lower, upper = MarchenkoPastur(784 / 3000).support
    assert float(lower) == pytest.approx(0.2389178927, abs=1e-10)
    assert float(upper) == pytest.approx(2.283748774, abs=1e-9)


@given(aspect=aspects, variance=variances, q=st.floats(0, 1))
def test_cdf_of_quantile_is_the_probability(aspect: float, variance: float, q: float) -> None:
    law = MarchenkoPastur(aspect, variance)
    x = law.ppf(double(q))
    assert law.support[0] <= x <= law.support[1]
    # A rounding of x moves F by the density; near the pole of aspect 1 that is more than 1e-10 only below 1e-12.
    slack = 1e-10 + float(law.pdf(x).clamp(max=1e12 / variance)) * float(x) * 1e-15
    assert float(law.cdf(x)) == pytest.approx(q, abs=slack)


@given(aspect=aspects, variance=variances)
def test_ends_are_exact(aspect: float, variance: float) -> None:
    law = MarchenkoPastur(aspect, variance)
    lower, upper = law.support
    ends = law.ppf(double([0.0, 1.0]))
    assert (float(ends[0]), float(ends[1])) == (float(lower), float(upper))
    assert law.cdf(torch.stack([lower, upper])).tolist() == pytest.approx([0.0, 1.0], abs=1e-12)
    outside = torch.stack([lower - 1e-9 * upper, upper * (1 + 1e-9), -upper, 2 * upper])
    assert law.cdf(outside)[[0, 2]].tolist() == pytest.approx([0, 0], abs=1e-15)
    assert law.cdf(outside)[[1, 3]].tolist() == [1, 1]
    assert law.pdf(outside).tolist() == [0, 0, 0, 0]


@given(aspect=aspects, variance=variances, share=st.floats(0.01, 0.99))
def test_law_scales_with_the_variance(aspect: float, variance: float, share: float) -> None:
    law, unit = MarchenkoPastur(aspect, variance), MarchenkoPastur(aspect)
    x = unit.support[0] + share * (unit.support[1] - unit.support[0])
    assert float(law.cdf(variance * x)) == pytest.approx(float(unit.cdf(x)), abs=1e-9)
    assert float(law.pdf(variance * x)) * variance == pytest.approx(float(unit.pdf(x)), rel=1e-6)


@pytest.mark.parametrize("aspect", [1e-4, 1 / 300, 0.1, 0.5, 0.99, 1.0])
def test_density_has_mass_mean_and_variance(aspect: float) -> None:
    law = MarchenkoPastur(aspect, 2.0)
    # Integrate in the angle, where the integrand is smooth: x = σ²(1 + γ + 2√γ cos φ).
    angle = (torch.arange(20_000, dtype=torch.float64) + 0.5) * (math.pi / 20_000)
    x = 2.0 * (1 + aspect + 2 * aspect**0.5 * angle.cos())
    weight = law.pdf(x) * 2.0 * 2 * aspect**0.5 * angle.sin() * (math.pi / 20_000)
    mean = (weight * x).sum()
    assert float(weight.sum()) == pytest.approx(1, abs=1e-6)
    assert float(mean) == pytest.approx(float(law.mean), rel=1e-6)
    assert float((weight * (x - mean) ** 2).sum()) == pytest.approx(float(law.var), rel=1e-4)


def test_density_is_the_slope_of_the_cdf() -> None:
    law = MarchenkoPastur(0.3, 1.7)
    x = torch.linspace(0.5, 3.5, 50, dtype=torch.float64)
    slope = (law.cdf(x + 1e-6) - law.cdf(x - 1e-6)) / 2e-6
    torch.testing.assert_close(slope, law.pdf(x), rtol=1e-6, atol=1e-8)


def test_square_law_in_its_own_closed_form() -> None:
    y = torch.linspace(0, 2, 201, dtype=torch.float64)
    expected = y * (4 - y**2).sqrt() / (2 * math.pi) + 2 / math.pi * (y / 2).asin()
    torch.testing.assert_close(MarchenkoPastur(1.0).cdf(y**2), expected, rtol=0, atol=1e-14)


def test_pole_of_the_square_law_is_infinite_and_not_an_error() -> None:
    assert MarchenkoPastur(1.0).pdf(double([0.0])).tolist() == [math.inf]


def test_shapes_and_variances_broadcast() -> None:
    law = MarchenkoPastur(0.25, double([[1.0], [2.0]]))
    x = torch.rand(2, 5) * 2
    assert law.cdf(x).shape == law.pdf(x).shape == law.ppf(torch.rand(2, 5)).shape == (2, 5)
    assert law.cdf(x).dtype == torch.float64
    torch.testing.assert_close(law.cdf(x)[1], MarchenkoPastur(0.25, 2.0).cdf(x[1]))
    assert law.median.shape == (2, 1)


def test_draws_follow_the_law() -> None:
    law = MarchenkoPastur(0.5, 3.0)
    draws = law.rvs((20_000,), torch.Generator().manual_seed(0)).sort().values
    distance = (law.cdf(draws) - (torch.arange(20_000) + 0.5) / 20_000).abs().max()
    assert float(distance) < 1.63 / 20_000**0.5  # 1 % point of Kolmogorov's distribution


def test_eigenvalues_of_noise_follow_the_law() -> None:
    noise = torch.randn(300, 600, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = torch.linalg.eigvalsh(noise @ noise.T / 600)
    assert float((MarchenkoPastur(0.5).cdf(values) - (torch.arange(300) + 0.5) / 300).abs().max()) < 0.02


def test_quantile_table_does_not_care_which_side_is_larger() -> None:
    assert torch.equal(quantile_table(40, 90), quantile_table(90, 40))
    assert quantile_table(40, 90).shape == (40,)
    assert bool((quantile_table(40, 90).diff() > 0).all())


@pytest.mark.parametrize("aspect", [0.0, -0.1, 1.5, math.nan])
def test_impossible_aspect_is_refused(aspect: float) -> None:
    with pytest.raises(InvalidOption, match=r"aspect is .* must lie in \(0, 1\]"):
        MarchenkoPastur(aspect)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.inf, math.nan])
def test_impossible_variance_is_refused(variance: float) -> None:
    with pytest.raises(InvalidOption, match=r"variance is .* must be positive"):
        MarchenkoPastur(0.5, variance)


@settings(max_examples=5)
@given(q=st.sampled_from([-0.1, 1.1, math.nan]))
def test_impossible_probability_is_refused(q: float) -> None:
    with pytest.raises(InvalidOption, match=r"outside \[0, 1\]"):
        MarchenkoPastur(0.5).ppf(double([0.5, q]))


@pytest.mark.parametrize("aspect", [1.0, 0.5, 0.1, 1e-4])
def test_cdf_is_exact_at_and_beyond_both_ends(aspect: float) -> None:
    law = MarchenkoPastur(aspect, 2.0)
    lower, upper = law.support
    assert law.cdf(torch.stack([lower - 1, lower])).tolist() == [0.0, 0.0]
    assert law.cdf(torch.stack([upper, upper + 1])).tolist() == [1.0, 1.0]
