from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import airy

from rmt import tracy_widom
from rmt.errors import InvalidOption
from rmt.make_tracy_widom import cdf_and_pdf

# Values of SCIENCE 7.2, on which two methods agree to 1e-11.
QUANTILES = {
    0.01: -3.8954326731, 0.05: -3.1803799769, 0.10: -2.7824279057, 0.20: -2.2831633202, 0.50: -1.2685746166,
    0.75: -0.3919943318, 0.80: -0.1653134252, 0.90: 0.4501432891, 0.95: 0.9793160535, 0.99: 2.0234492814,
    0.999: 3.2721960590,
}  # fmt: skip


@pytest.mark.parametrize("q", QUANTILES)
def test_quantiles_have_the_reference_values(q: float) -> None:
    assert float(tracy_widom.ppf(q)) == pytest.approx(QUANTILES[q], abs=1e-8)


def test_table_agrees_with_the_other_method() -> None:
    """Painlevé II: q″ = s q + 2 q³ with q ~ Ai, F₁ = exp(−½ ∫ (q + (x − s) q²) dx)."""
    start, points = 6.0, np.linspace(3.3, -4.7, 161)
    ai, ai_prime, _, _ = airy(start)
    # Beyond the start q is Ai to 1e-10 of itself: ∫Ai, ∫Ai² and ∫(x − s)Ai² by quadrature.
    x = np.linspace(start, start + 20, 400_001)
    tail = airy(x)[0]
    initial = np.array(
        [
            ai,
            ai_prime,
            np.trapezoid(tail, x),
            np.trapezoid(tail**2, x),
            np.trapezoid((x - start) * tail**2, x),
        ]
    )

    def slope(s: float, y: NDArray[np.float64]) -> NDArray[np.float64]:
        q, q_prime, _, square, _ = y
        return np.array([q_prime, s * q + 2 * q**3, -q, -(q**2), -square])

    path = solve_ivp(
        slope, (start, float(points[-1])), initial, method="DOP853", t_eval=points, rtol=1e-13, atol=1e-18
    )
    expected = np.exp(-(path.y[2] + path.y[4]) / 2)
    found = tracy_widom.cdf(torch.from_numpy(points.copy())).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    within = (expected > 1e-3) & (expected < 1 - 1e-3)
    quantiles = tracy_widom.ppf(torch.from_numpy(expected[within])).numpy()
    np.testing.assert_allclose(quantiles, points[within], rtol=0, atol=1e-8)


@pytest.mark.parametrize("s", [-4.317, -1.2345, 0.777, 3.2721])
def test_the_script_still_makes_the_table(s: float) -> None:
    cdf, pdf = cdf_and_pdf(s)
    assert float(tracy_widom.cdf(s)) == pytest.approx(cdf, abs=1e-9)
    assert (cdf_and_pdf(s + 1e-5)[0] - cdf_and_pdf(s - 1e-5)[0]) / 2e-5 == pytest.approx(pdf, abs=1e-8)


def test_mean_is_that_of_the_literature() -> None:
    s = torch.linspace(-8, 12, 200_001, dtype=torch.float64)
    mean = float(torch.trapezoid(1 - tracy_widom.cdf(s), s)) - 8  # E X = a + ∫ (1 − F) over [a, ∞)
    assert mean == pytest.approx(-1.2065336, abs=1e-6)


@given(q=st.floats(1e-9, 1 - 1e-9))
def test_cdf_of_quantile_is_the_probability(q: float) -> None:
    assert float(tracy_widom.cdf(tracy_widom.ppf(q))) == pytest.approx(q, abs=1e-13)


@given(a=st.floats(-12, 14), b=st.floats(-12, 14))
def test_cdf_never_falls(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert float(tracy_widom.cdf(low)) <= float(tracy_widom.cdf(high)) + 1e-16


def test_far_away_is_0_and_1() -> None:
    assert tracy_widom.cdf(torch.tensor([-50.0, 50.0])).tolist() == [0, 1]


@pytest.mark.parametrize("q", [0.0, 1.0, -0.5, math.nan])
def test_impossible_probability_is_refused(q: float) -> None:
    with pytest.raises(InvalidOption, match="Tracy–Widom probability lies outside"):
        tracy_widom.ppf(q)
