from typing import Any

import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.bootstrap import bca, bca_pairs
from sweeps.statistics.paired_ranks import (
    paired_permutation,
    signed_rank_place,
    variance_permutation,
    wilcoxon,
)
from sweeps.statistics.resampling import sign_flips

GENERATOR = np.random.default_rng(4)
BASELINE = GENERATOR.gamma(3, size=9)
ARM = BASELINE * 0.7 + GENERATOR.standard_normal(9) * 0.3


@pytest.mark.parametrize("of", ["mean", "sd", "median"])
def test_bca_is_scipys_on_the_same_resamples(of):
    statistics: dict[str, Any] = {
        "mean": np.mean,
        "median": np.median,
        "sd": lambda x, axis: np.std(x, axis=axis, ddof=1),
    }
    rng = np.random.default_rng(1)
    expected = stats.bootstrap(
        (BASELINE,), statistics[of], n_resamples=2000, method="BCa", rng=rng
    ).confidence_interval
    finding = bca(BASELINE, of=of, resamples=2000, seed=1)
    assert finding.interval is not None
    assert (finding.interval.low, finding.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-10)


def test_bca_of_a_variance_ratio_resamples_seeds():
    def ratio(one, two, axis):
        return np.var(one, axis=axis, ddof=1) / np.var(two, axis=axis, ddof=1)

    expected = stats.bootstrap(
        (ARM, BASELINE), ratio, paired=True, n_resamples=999, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    finding = bca_pairs(ARM, BASELINE, of="variance_ratio", resamples=999, seed=2)
    assert finding.interval is not None
    assert (finding.interval.low, finding.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-10)


def test_bca_findings_carry_their_warning():
    assert any("covers several points less" in line for line in bca(ARM).assumptions)


def mean_difference(one, two, axis):
    return np.mean(one - two, axis=axis)


def log_ratio(one, two, axis):
    return np.log(np.var(one, axis=axis)) - np.log(np.var(two, axis=axis))


@pytest.mark.parametrize(
    ("ours", "statistic"), [(paired_permutation, mean_difference), (variance_permutation, log_ratio)]
)
def test_exact_permutation_is_scipys(ours, statistic):
    centred = (ARM, BASELINE) if ours is paired_permutation else (ARM - ARM.mean(), BASELINE - BASELINE.mean())
    expected = stats.permutation_test(list(centred), statistic, permutation_type="samples", n_resamples=10**6)
    assert ours(ARM, BASELINE).p == pytest.approx(expected.pvalue, abs=1e-10)


def test_random_permutations_come_near_the_exact_p():
    exact, random = (paired_permutation(ARM, BASELINE + 0.8, resamples=r).p for r in (9999, 500))
    assert exact is not None
    assert random == pytest.approx(exact, abs=4 * 0.5 / 500**0.5)
    assert not sign_flips(9, 500, 0).exact


def test_wilcoxon_is_scipys_and_its_interval_holds_what_its_exact_test_accepts():
    finding = wilcoxon(ARM, BASELINE)
    differences = ARM - BASELINE
    assert finding.p == pytest.approx(stats.wilcoxon(differences).pvalue, abs=1e-10)
    assert finding.interval is not None
    for end, inwards in ((finding.interval.low, 1), (finding.interval.high, -1)):
        inside, outside = (
            stats.wilcoxon(differences - end - inwards * step, method="exact").pvalue for step in (1e-9, -1e-9)
        )
        assert inside > 0.05 >= outside


@pytest.mark.parametrize(("n", "place"), [(5, 0), (6, 1), (10, 9), (20, 53)])
def test_signed_rank_places_are_the_tabulated_ones(n, place):
    # One more than the tabulated two-sided 5 % critical value of W (6: 0, 10: 8, 20: 52).
    assert signed_rank_place(n, 0.95) == place
