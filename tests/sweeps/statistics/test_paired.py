import numpy as np
import pytest
from scipy import integrate, stats

from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.paired import paired_difference, small_sample_correction, unpaired_difference

GENERATOR = np.random.default_rng(3)
BASELINE = GENERATOR.standard_normal(12)
ARM = 0.6 * BASELINE + 0.5 * GENERATOR.standard_normal(12) + 0.3


def test_paired_difference_is_scipys_paired_t():
    finding, expected = paired_difference(ARM, BASELINE, level=0.9), stats.ttest_rel(ARM, BASELINE)
    interval = expected.confidence_interval(0.9)
    assert finding.interval is not None
    assert finding.p == pytest.approx(expected.pvalue, abs=1e-10)
    assert (finding.interval.low, finding.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-10)
    assert finding.details["correlation"] == pytest.approx(stats.pearsonr(ARM, BASELINE)[0])


def test_unpaired_difference_is_scipys_welch():
    finding = unpaired_difference(ARM, BASELINE[:7])
    expected = stats.ttest_ind(ARM, BASELINE[:7], equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert finding.interval is not None
    assert finding.p == pytest.approx(expected.pvalue, abs=1e-10)
    assert (finding.interval.low, finding.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-10)


@pytest.mark.parametrize("df", [2, 4, 9, 40])
def test_the_corrected_effect_size_is_unbiased(df):
    # E[1/s] for sigma = 1, from the density of s² df ~ chi-squared, is the inverse of the correction.
    expected, _ = integrate.quad(lambda x: np.sqrt(df / x) * stats.chi2.pdf(x, df), 0, np.inf)
    assert small_sample_correction(df) * expected == pytest.approx(1, rel=1e-6)


def test_unequal_lengths_are_no_pairs():
    with pytest.raises(InvalidSample, match="12 in the arm and 11 in the baseline"):
        paired_difference(ARM, BASELINE[1:])


def test_a_constant_shift_has_a_number_and_no_test():
    finding = paired_difference(BASELINE + 0.1, BASELINE)
    assert finding.estimate == pytest.approx(0.1)
    assert finding.p is None
    assert finding.interval is None
    assert "no spread to test against" in finding.sentence
