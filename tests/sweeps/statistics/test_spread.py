import numpy as np
import pytest

from sweeps.statistics.simulation import Setting, draw
from sweeps.statistics.spread import (
    bonett_interval,
    jackknife_sd_interval,
    log_variances_without_one,
    paired_ratio_interval,
    sd,
    unpaired_ratio_interval,
    variance_ratio,
)

GENERATOR = np.random.default_rng(5)
FIRST, SECOND = GENERATOR.standard_normal((2, 9)) * [[2.0], [1.0]]


def test_log_variances_without_one_are_those_of_the_shorter_samples():
    expected = [np.log(np.delete(FIRST, i).var(ddof=1)) for i in range(FIRST.size)]
    assert log_variances_without_one(FIRST) == pytest.approx(expected, abs=1e-12)


def test_bonett_interval_is_the_published_formula_worked_out_by_hand():
    n, z = FIRST.size, 1.959963984540054
    trimmed = np.sort(FIRST)[2:-2].mean()  # trim 1 / (2 sqrt(5)) = 0.2236 of 9: two from either end
    kurtosis = n * ((FIRST - trimmed) ** 4).sum() / ((FIRST - FIRST.mean()) ** 2).sum() ** 2
    c = n / (n - z)
    half = z * c * np.sqrt((kurtosis - (n - 3) / n) / (n - 1))
    expected = np.exp((np.log(c * FIRST.var(ddof=1)) + np.array([-half, half])) / 2)
    assert np.array(bonett_interval(FIRST, 0.95)[1:]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("interval", [paired_ratio_interval, unpaired_ratio_interval])
def test_swapping_arms_inverts_the_ratio_and_its_ends(interval):
    there, back = interval(FIRST, SECOND, 0.95), interval(SECOND, FIRST, 0.95)
    assert [there.estimate, there.low, there.high] == pytest.approx(
        [1 / back.estimate, 1 / back.high, 1 / back.low], rel=1e-12
    )


def test_seeds_are_dropped_from_both_arms_at_once():
    # A seed that is extreme in both arms moves both variances together: pairing must make the interval narrower.
    arm, baseline = draw(Setting("normal", 30, correlation=0.95), 200, seed=0)
    paired, unpaired = paired_ratio_interval(arm, baseline, 0.95), unpaired_ratio_interval(arm, baseline, 0.95)
    width = [np.median(np.log(ends.high / ends.low)) for ends in (paired, unpaired)]
    assert width[0] < 0.6 * width[1]


@pytest.mark.parametrize("interval", [bonett_interval, jackknife_sd_interval])
def test_intervals_of_a_spread_scale_with_it(interval):
    assert np.array(interval(10 * FIRST + 3, 0.95)) == pytest.approx(10 * np.array(interval(FIRST, 0.95)))


def test_degenerate_spreads_are_said():
    constant, spike = np.full(6, 0.5), np.array([1.0, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert sd(constant).estimate == 0
    assert variance_ratio(FIRST[:6], constant).estimate is None
    assert variance_ratio(constant, FIRST[:6]).estimate == 0
    but_one = variance_ratio(spike, FIRST[:6])
    assert but_one.interval is None
    assert "without one of its replicates" in but_one.sentence
