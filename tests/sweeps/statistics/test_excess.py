import numpy as np
import pytest

from sweeps.statistics.errors import InvalidSample
from sweeps.statistics.excess import excess_of, excess_ratio, excess_variance, sampling_variance


def runs(generator, replicates, examples, true_sd=0.0):
    """Correctness of runs whose true accuracy scatters by `true_sd` while examples are independent."""
    hardness = 0.15 + 0.7 * generator.beta(4, 1, examples)
    quality = true_sd * generator.standard_normal((replicates, 1))
    return generator.random((replicates, examples)) < hardness + quality


def test_a_finite_test_set_alone_leaves_no_excess():
    generator = np.random.default_rng(0)
    findings = [excess_variance(runs(generator, 10, 500)) for _ in range(200)]
    estimates = np.array([f.estimate for f in findings], dtype=float)
    expected = np.mean([f.details["test_set_sd"] for f in findings]) ** 2
    assert abs(estimates.mean()) < 4 * estimates.std() / 14
    assert abs(estimates.mean()) < 0.1 * expected
    assert np.mean([f.p <= 0.05 for f in findings]) == pytest.approx(0.05, abs=0.05)


def test_true_scatter_is_found_and_covered():
    generator = np.random.default_rng(1)
    findings = [excess_variance(runs(generator, 10, 1000, true_sd=0.02)) for _ in range(150)]
    truth = 0.02**2
    assert np.mean([f.estimate for f in findings]) == pytest.approx(truth, rel=0.12)
    covered = [f.interval.low <= truth <= f.interval.high for f in findings if f.interval]
    assert np.mean(covered) > 0.91


def test_the_naive_binomial_is_too_large_when_examples_differ_in_hardness():
    generator = np.random.default_rng(2)
    easy_or_hard = generator.beta(0.8, 0.2, 5000)
    details = excess_variance(generator.random((20, 5000)) < easy_or_hard).details
    assert details["binomial_sd"] == pytest.approx(2**0.5 * float(details["test_set_sd"] or 0), rel=0.05)


def test_the_baseline_is_unbiased():
    generator = np.random.default_rng(3)
    rates = generator.beta(4, 1, 400)
    drawn = [sampling_variance(generator.random((5, 400)) < rates) for _ in range(500)]
    assert np.mean(drawn) == pytest.approx((rates * (1 - rates)).mean() / 400, rel=0.02)


def test_bad_input_is_refused_or_said():
    with pytest.raises(InvalidSample, match="must be bool"):
        excess_variance(np.ones((3, 4)))
    assert excess_variance(np.ones((1, 50), dtype=bool)).estimate is None
    assert excess_variance(np.ones((6, 50), dtype=bool)).estimate == 0
    one_off = np.ones((2, 50), dtype=bool)
    one_off[0, 3] = False
    assert excess_variance(one_off).interval is None


def test_means_of_several_networks_scatter_less_on_the_test_set():
    generator = np.random.default_rng(4)
    rates = generator.beta(4, 1, 400)
    bits = generator.random((300, 3, 400)) < rates
    assert sampling_variance(bits.mean(axis=1)) == pytest.approx((rates * (1 - rates)).mean() / 400 / 3, rel=0.03)
    assert excess_of(bits[:, 0], 0.95).estimate == excess_variance(bits[:, 0]).estimate
    assert excess_of(bits[:, 0].astype(float), 0.95).estimate == pytest.approx(
        float(excess_variance(bits[:, 0]).estimate or 0.0), abs=1e-15
    )


def test_the_ratio_of_excess_variances_finds_a_planted_one_and_says_when_there_is_none():
    generator = np.random.default_rng(5)
    arm = excess_variance(runs(generator, 400, 2000, true_sd=0.04))
    baseline = excess_variance(runs(generator, 400, 2000, true_sd=0.02))
    assert excess_ratio(arm, baseline).estimate == pytest.approx(4.0, rel=0.3)
    calm = excess_of(np.array([[True, False], [False, True], [True, False], [False, True]]), 0.95)
    assert excess_ratio(arm, calm).estimate is None
    assert "scatters no more than its test set" in excess_ratio(arm, calm).sentence
