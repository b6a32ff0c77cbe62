import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.location import iqm, mean, mean_interval, median, median_ranks, trimmed_interval

SAMPLE = np.random.default_rng(0).gamma(2.0, size=11)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_mean_is_scipys_student_interval(level):
    finding = mean(SAMPLE, level=level)
    expected = stats.t.interval(level, SAMPLE.size - 1, SAMPLE.mean(), stats.sem(SAMPLE))
    assert finding.interval is not None
    assert (finding.interval.low, finding.interval.high) == pytest.approx(expected, abs=1e-10)
    assert (finding.estimate, finding.n) == (pytest.approx(SAMPLE.mean()), 11)


def test_kernels_take_any_leading_shape():
    batch = np.random.default_rng(1).standard_normal((3, 4, 7))
    whole = mean_interval(batch, 0.95)
    one = mean_interval(batch[2, 1], 0.95)
    assert [x[2, 1] for x in whole] == pytest.approx(list(one))


@pytest.mark.parametrize(("n", "rank", "coverage"), [(6, 1, 0.96875), (10, 2, 0.978515625), (20, 6, 0.958610535)])
def test_median_interval_has_the_tabulated_ranks(n, rank, coverage):
    # Coverages of the sign-test interval, e.g. Conover, Practical Nonparametric Statistics, table of the binomial.
    assert median_ranks(n, 0.95) == rank
    values = np.arange(float(n))
    finding = median(values)
    assert finding.interval is not None
    assert (finding.interval.low, finding.interval.high) == (rank - 1, n - rank)
    assert finding.details["exact_coverage"] == pytest.approx(coverage, abs=1e-9)


def test_median_of_five_has_no_95_percent_interval_and_says_so():
    finding = median(SAMPLE[:5])
    assert finding.interval is None
    assert finding.estimate == pytest.approx(np.median(SAMPLE[:5]))
    assert "only 93.8 % of the time" in finding.sentence


def test_interquartile_mean_is_scipys_trimmed_mean_with_its_interval():
    finding = iqm(SAMPLE)
    assert finding.estimate == pytest.approx(stats.trim_mean(SAMPLE, 0.25), abs=1e-12)
    # Yuen's two-sample test adds the squared standard errors of which either interval has one.
    other = SAMPLE[::-1][:8] + 0.3
    parts = [trimmed_interval(x, 0.95) for x in (SAMPLE, other)]
    errors = [(e.high - e.low) / 2 / stats.t.ppf(0.975, kept - 1) for e, kept in zip(parts, (7, 4), strict=True)]
    t = (parts[0].estimate - parts[1].estimate) / np.hypot(*errors)
    assert t == pytest.approx(stats.ttest_ind(SAMPLE, other, equal_var=False, trim=0.25).statistic, abs=1e-10)


@pytest.mark.parametrize("statistic", [mean, median, iqm])
def test_what_is_no_sample_is_refused(statistic):
    with pytest.raises(InvalidSample, match="1 of 3 values that are not finite"):
        statistic([1.0, np.nan, 2.0])
    with pytest.raises(InvalidSample, match="one-dimensional"):
        statistic(np.ones((2, 2)))


def test_doubtful_normality_is_said():
    spread_out = [*np.linspace(0, 1, 9), 50.0]
    assert any("doubtful" in line for line in mean(spread_out).assumptions)
    assert any("not contradicted" in line for line in mean(SAMPLE).assumptions)
