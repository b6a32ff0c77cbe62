import numpy as np
import pytest
from scipy.stats import ttest_1samp
from statsmodels.stats.power import TTestPower

from sweeps.statistics.power import (
    brown_forsythe_ratio,
    detectable_difference,
    detectable_effect,
    detectable_ratio,
    f_test_ratio,
    paired_t_power,
)
from sweeps.statistics.spread_tests import brown_forsythe_test


@pytest.mark.parametrize("n", [3, 5, 10, 30])
@pytest.mark.parametrize("effect", [0.2, 0.8, 1.5])
def test_power_of_the_paired_t_is_statsmodels(n, effect):
    assert paired_t_power(effect, n, 0.95) == pytest.approx(TTestPower().power(effect, n, 0.05), abs=1e-10)


@pytest.mark.parametrize("comparisons", [1, 2, 100])
@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_detectable_difference_is_found_as_often_as_asked_for(n, comparisons):
    level, experiments = 1 - 0.05 / comparisons, 40_000
    differences = np.random.default_rng(n).normal(detectable_effect(n, level, 0.8), 1.0, (experiments, n))
    p = ttest_1samp(differences, 0.0, axis=1).pvalue
    assert np.mean(p < 1 - level) == pytest.approx(0.8, abs=0.008)  # four standard errors


def test_more_seeds_see_more_and_more_comparisons_less():
    found = [[detectable_effect(n, 1 - 0.05 / family) for n in (2, 3, 4, 5, 10, 100)] for family in (1, 2, 6, 100)]
    assert (np.diff(found, axis=1) < 0).all()
    assert (np.diff(found, axis=0) > 0).all()


def test_the_detectable_difference_is_in_units_of_the_metric():
    effect = detectable_effect(10, 0.95, 0.8)
    assert detectable_difference(10, sd_of_differences=0.02).estimate == pytest.approx(0.02 * effect)


@pytest.mark.parametrize(("n", "ratio"), [(5, 9.60), (30, 2.10)])
def test_at_even_odds_the_f_test_detects_its_critical_value(n, ratio):
    assert f_test_ratio(n, n, 0.95, 0.5) == pytest.approx(ratio, abs=0.01)


def test_the_detectable_ratio_has_the_power_asked_for_on_fresh_experiments():
    ratio = brown_forsythe_ratio(10, 12)
    generator = np.random.default_rng(99)
    arm, baseline = generator.standard_normal((20_000, 10)), generator.standard_normal((20_000, 12))
    power = np.mean(brown_forsythe_test(arm * ratio**0.5, baseline).p < 0.05)
    assert power == pytest.approx(0.8, abs=0.04)  # three standard errors of the 2,000 simulations, and a little


def test_what_can_not_be_detected_is_said():
    assert detectable_ratio(5).estimate is None
    assert "no variance ratio would be found" in detectable_ratio(5).sentence
    assert detectable_ratio(2).estimate is None
    assert detectable_difference(1).estimate is None
    assert detectable_ratio(30, test="f").estimate == pytest.approx(f_test_ratio(30, 30, 0.95, 0.8))
