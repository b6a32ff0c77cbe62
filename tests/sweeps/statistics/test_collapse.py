import numpy as np
import pytest

from sweeps.statistics.collapse import collapse, collapsed_replicates, gap_p_values

GENERATOR = np.random.default_rng(2)


@pytest.mark.parametrize("n", [4, 5, 10, 30])
def test_normal_replicates_raise_an_alarm_as_often_as_asked(n):
    p, _ = gap_p_values(GENERATOR.standard_normal((20_000, n)))
    for alarm in (0.01, 0.05):
        assert np.mean(p <= alarm) == pytest.approx(alarm, abs=4 * (alarm / 10_000) ** 0.5)


def test_dead_outputs_are_found_at_the_depth_they_have():
    # Healthy accuracies scatter by one point; a network that never predicts some class loses ten.
    healthy = 0.87 + 0.01 * GENERATOR.standard_normal((2000, 10))
    healthy[:, :2] -= 0.1
    p, count = gap_p_values(healthy)
    found = p <= 0.01
    assert found.mean() > 0.95
    assert (count[found] == 2).mean() > 0.99


def test_the_finding_shows_the_spread_with_and_without():
    values = [0.87, 0.88, 0.865, 0.875, 0.872, 0.868, 0.879, 0.52, 0.61, 0.871]
    finding = collapse(values)
    assert finding.estimate == 2
    assert list(np.flatnonzero(collapsed_replicates(values))) == [7, 8]
    assert finding.details["sd_healthy"] == pytest.approx(np.std(np.delete(values, [7, 8]), ddof=1))
    losses = [1 - value for value in values]
    assert collapse(losses, worse="high").estimate == 2
    assert collapse(losses).estimate == 0


def test_ties_and_constants_are_no_collapse():
    assert collapse([0.5] * 8).estimate == 0
    assert collapse([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.6]).estimate == 0
    assert collapse([0.1, 0.9, 0.9]).estimate is None
