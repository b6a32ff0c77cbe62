import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.ranking import critical_difference, friedman_p_value, ranking

NAMES = ["none", "mp_threshold", "magnitude"]


def test_friedman_is_scipys_with_and_without_ties():
    generator = np.random.default_rng(0)
    for values in (generator.standard_normal((9, 4)), generator.integers(0, 3, (9, 4)).astype(float)):
        expected = stats.friedmanchisquare(*values.T).pvalue
        assert friedman_p_value(stats.rankdata(values, axis=1)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("arms", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_uses_the_published_values(arms, q):
    # Demšar (2006), table 5(a).
    expected = q * (arms * (arms + 1) / (6 * 14)) ** 0.5
    assert critical_difference(arms, 14, 0.95) == pytest.approx(expected, rel=5e-4)


def test_arms_are_ranked_best_first_and_told_apart():
    generator = np.random.default_rng(1)
    values = generator.standard_normal((20, 3)) * 0.1 + [0.0, 1.0, 1.01]
    findings = ranking(values, NAMES)
    assert findings[-1].details["arm"] == "none"
    assert findings[-1].estimate == 3
    assert "told apart from all others" in findings[-1].sentence
    assert "not told apart from" in findings[0].sentence
    assert ranking(values, NAMES, mode="min")[0].details["arm"] == "none"


def test_bad_input():
    assert ranking(np.ones((1, 3)), NAMES)[0].estimate is None
    assert all(f.p == 1 for f in ranking(np.ones((4, 3)), NAMES))
    with pytest.raises(InvalidSample, match="3 arms"):
        ranking(np.ones((4, 2)), NAMES)
    with pytest.raises(InvalidSample, match="finite"):
        ranking(np.full((4, 3), np.nan), NAMES)
