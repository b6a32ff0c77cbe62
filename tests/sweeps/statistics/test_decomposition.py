import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from sweeps.statistics.decomposition import analyse, share_intervals, variance_shares
from sweeps.statistics.errors import InvalidSample


def crossed(generator, first=10, second=4, repeats=1, spreads=(2.0, 1.0, 1.0)):
    """Values of a balanced two-way table with normal effects of known spread, and its labels."""
    one, two = spreads[0] * generator.standard_normal(first), spreads[1] * generator.standard_normal(second)
    i, j = (x.repeat(repeats) for x in np.divmod(np.arange(first * second), second))
    return one[i] + two[j] + spreads[2] * generator.standard_normal(i.size), {"initialisation": i, "data_order": j}


def test_sums_of_squares_and_tests_are_statsmodels():
    values, factors = crossed(np.random.default_rng(0), repeats=2)
    frame = pd.DataFrame({"y": values, **factors})
    table = anova_lm(smf.ols("y ~ C(initialisation) + C(data_order)", frame).fit())
    codes = {name: np.asarray(labels) for name, labels in factors.items()}
    anova = analyse(values, codes)
    assert anova is not None
    assert anova.squares == pytest.approx(table["sum_sq"].to_numpy(), rel=1e-10)
    assert list(anova.df) == list(table["df"])
    findings = variance_shares(values, factors)
    assert [f.p for f in findings[:2]] == pytest.approx(table["PR(>F)"].to_numpy()[:2], rel=1e-8)


def test_shares_sum_to_one_and_name_their_factor():
    findings = variance_shares(*crossed(np.random.default_rng(1)))
    assert [f.details["factor"] for f in findings] == ["initialisation", "data_order", "residual"]
    assert sum(f.estimate for f in findings if f.estimate is not None) == pytest.approx(1)


@pytest.mark.slow
def test_intervals_of_the_shares_cover():
    generator = np.random.default_rng(2)
    truth = np.array([4.0, 1.0, 1.0]) / 6
    covered = []
    for seed in range(250):
        values, factors = crossed(generator)
        anova = analyse(values, {name: np.asarray(labels) for name, labels in factors.items()})
        assert anova is not None
        low, high = share_intervals(anova, 0.95, seed)
        covered.append((low <= truth) & (truth <= high))
    assert (np.mean(covered, axis=0) > 0.92).all()


@pytest.mark.slow
def test_the_likelihood_agrees_with_the_closed_form_where_both_exist():
    values, factors = crossed(np.random.default_rng(3), first=8, repeats=2)
    balanced = [f.details["variance"] for f in variance_shares(values, factors)]
    lopsided = variance_shares(np.append(values, values[:1]), {k: np.append(v, v[:1]) for k, v in factors.items()})
    assert lopsided[0].method.startswith("restricted maximum likelihood")
    assert lopsided[0].interval is None
    assert [f.details["variance"] for f in lopsided] == pytest.approx(balanced, rel=0.15)


def test_bad_input_gives_sentences():
    values, factors = crossed(np.random.default_rng(4), first=3, second=3)
    single = variance_shares(values, {**factors, "split": np.zeros(9)})
    assert single[0].details["factor"] == "split"
    assert "one level only" in single[0].sentence
    saturated = variance_shares(values, {"initialisation": np.arange(9)})
    assert all(f.estimate is None and "nothing for the residual" in f.sentence for f in saturated)
    assert all("equal" in f.sentence for f in variance_shares(np.ones(9), factors))
    assert all(f.estimate is None for f in variance_shares(values[:2], {"a": [0, 1]}))
    with pytest.raises(InvalidSample, match=r"shape \(9,\)"):
        variance_shares(values, {"a": [0, 1]})


def test_large_unbalanced_tables_are_said_not_attempted():
    values = np.random.default_rng(5).standard_normal(1003)
    findings = variance_shares(values, {"a": np.arange(1003) % 7})
    assert all("more than the 1000" in f.sentence for f in findings)
