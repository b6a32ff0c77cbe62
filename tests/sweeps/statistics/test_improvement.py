import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.improvement import probability_of_improvement, unpaired_probability_of_improvement

GENERATOR = np.random.default_rng(6)
ARM, BASELINE = GENERATOR.standard_normal((2, 12)) + np.array([[0.5], [0.0]])


def test_by_seed_it_is_the_sign_test_with_its_exact_interval():
    finding = probability_of_improvement(ARM, BASELINE)
    expected = stats.binomtest(int((ARM > BASELINE).sum()), 12)
    interval = expected.proportion_ci(method="exact")
    assert finding.interval is not None
    assert finding.p == pytest.approx(expected.pvalue, abs=1e-10)
    assert (finding.interval.low, finding.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-10)


def test_ties_count_half_and_widen_the_interval():
    tied = ARM.copy()
    tied[:4] = BASELINE[:4]
    finding = probability_of_improvement(tied, BASELINE)
    wins = int((tied > BASELINE).sum())
    assert finding.estimate == (wins + 2) / 12
    assert finding.details["ties"] == 4
    assert probability_of_improvement(BASELINE, BASELINE).estimate == 0.5
    assert probability_of_improvement(BASELINE, BASELINE).p == 1


def test_less_is_better_turns_it_round():
    more, less = (probability_of_improvement(ARM, BASELINE, mode=mode).estimate for mode in ("max", "min"))
    assert more is not None
    assert less == pytest.approx(1 - more)


def test_between_replicates_it_is_scipys_brunner_munzel():
    finding = unpaired_probability_of_improvement(ARM, BASELINE[:9])
    assert finding.p == pytest.approx(stats.brunnermunzel(ARM, BASELINE[:9]).pvalue, abs=1e-10)
    assert finding.estimate == pytest.approx(stats.mannwhitneyu(ARM, BASELINE[:9]).statistic / (12 * 9))
    assert finding.interval is not None
    assert 0 < finding.interval.low < finding.interval.high < 1


def test_samples_that_do_not_overlap_have_no_interval():
    finding = unpaired_probability_of_improvement(ARM + 100, BASELINE)
    assert (finding.estimate, finding.interval) == (1.0, None)
