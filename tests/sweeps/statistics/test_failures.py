import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.failures import failure_difference, failure_rate


@pytest.mark.parametrize(("count", "trials"), [(0, 5), (5, 5), (1, 10), (7, 30)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_rates_have_scipys_exact_interval(count, trials, level):
    expected = stats.binomtest(count, trials).proportion_ci(level, method="exact")
    finding = failure_rate(count, trials, level=level)
    assert finding.interval is not None
    assert (finding.interval.low, finding.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-10)


def test_two_rates_are_compared_by_fishers_test():
    assert failure_difference(1, 10, 7, 10).p == pytest.approx(
        stats.fisher_exact(np.array([[1, 9], [7, 3]])).pvalue, abs=1e-12
    )


def test_impossible_counts_are_refused_and_none_is_said():
    with pytest.raises(InvalidSample, match=r"0\.\.3; got 4"):
        failure_rate(4, 3)
    assert failure_rate(0, 0).estimate is None
    assert failure_difference(0, 0, 1, 5).estimate is None
