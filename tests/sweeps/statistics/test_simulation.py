import numpy as np
import pytest

from sweeps.statistics.simulation import DISTRIBUTIONS, Setting, draw, true_iqm, true_median


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions_are_standardised(name):
    quantile = DISTRIBUTIONS[name]
    u = (np.arange(500_000) + 0.5) / 500_000
    assert quantile(u).mean() == pytest.approx(0, abs=0.001)
    assert (quantile(u) ** 2).mean() == pytest.approx(1, abs=0.005)


def test_arms_have_the_ratio_and_correlation_asked_for():
    arm, baseline = draw(Setting("normal", 50, correlation=0.9, ratio=4.0), 2000, seed=0)
    assert arm.var() / baseline.var() == pytest.approx(4, rel=0.03)
    assert np.corrcoef(arm.ravel(), baseline.ravel())[0, 1] == pytest.approx(0.9, abs=0.01)


def test_truths_are_those_of_a_large_sample():
    _, sample = draw(Setting("lognormal(1)", 400_000), 1, seed=0)
    assert true_median("lognormal(1)") == pytest.approx(np.median(sample), abs=0.006)
    middle = np.sort(sample[0])[100_000:300_000]
    assert true_iqm("lognormal(1)") == pytest.approx(middle.mean(), abs=0.006)
