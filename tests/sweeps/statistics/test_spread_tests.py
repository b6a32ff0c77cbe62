import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.spread_tests import (
    brown_forsythe,
    brown_forsythe_test,
    paired_brown_forsythe,
    pitman_morgan,
)

GENERATOR = np.random.default_rng(8)
FIRST = GENERATOR.standard_normal(11) * 2
SECOND = 0.4 * FIRST + GENERATOR.standard_normal(11)


@pytest.mark.parametrize("m", [4, 7, 11])
def test_brown_forsythe_is_scipys_levene_about_medians(m):
    finding, expected = brown_forsythe(FIRST, SECOND[:m]), stats.levene(FIRST, SECOND[:m], center="median")
    assert finding.p == pytest.approx(expected.pvalue, abs=1e-10)
    assert finding.estimate is not None
    assert finding.estimate**2 == pytest.approx(expected.statistic, rel=1e-10)
    assert finding.estimate > 0  # the arm scatters more


def test_the_paired_form_is_a_paired_t_on_deviations():
    expected = stats.ttest_rel(np.abs(FIRST - np.median(FIRST)), np.abs(SECOND - np.median(SECOND)))
    assert paired_brown_forsythe(FIRST, SECOND).p == pytest.approx(expected.pvalue, abs=1e-10)


def test_pitman_morgan_is_the_correlation_of_sums_and_differences():
    expected = stats.pearsonr(FIRST + SECOND, FIRST - SECOND).pvalue
    assert pitman_morgan(FIRST, SECOND).p == pytest.approx(expected, abs=1e-10)


def test_batches_are_rows():
    batch = GENERATOR.standard_normal((5, 2, 8))
    rows = [float(brown_forsythe_test(one, two).p) for one, two in batch]
    assert brown_forsythe_test(batch[:, 0], batch[:, 1]).p == pytest.approx(rows)


def test_replicates_equally_far_from_the_median_are_not_tested():
    finding = brown_forsythe([0.0, 1.0, 0.0, 1.0], [0.0, 2.0, 0.0, 2.0])
    assert finding.p is None
    assert "equally far from the median" in finding.sentence


def test_arms_that_differ_by_a_constant_have_equal_variances_by_construction():
    assert pitman_morgan(FIRST + 1, FIRST).p is None
