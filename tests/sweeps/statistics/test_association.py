import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweeps.statistics import associate
from sweeps.statistics.association import association, spearman, spearman_interval
from sweeps.statistics.simulation import Setting, draw

GENERATOR = np.random.default_rng(9)
MEASURE = GENERATOR.standard_normal(15)
METRIC = 0.7 * MEASURE + GENERATOR.standard_normal(15)


def test_correlation_and_p_value_are_scipys():
    expected = stats.spearmanr(MEASURE, METRIC)
    finding = association(MEASURE, METRIC)
    assert finding.estimate == pytest.approx(expected.statistic, abs=1e-10)
    assert finding.p == pytest.approx(expected.pvalue, abs=1e-10)
    tied = np.round(MEASURE), np.round(METRIC)
    assert association(*tied).p == pytest.approx(stats.spearmanr(*tied).pvalue, abs=1e-10)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("n", [10, 30])
def test_the_interval_covers(n, correlation):
    one, two = draw(Setting("lognormal(0.5)", n, correlation), 4000, seed=1)
    truth = 6 / np.pi * np.arcsin(correlation / 2)  # of normal scores; any monotone transformation keeps it
    ends = spearman_interval(spearman(one, two), n, 0.95)
    assert 0.925 <= np.mean((ends.low <= truth) & (truth <= ends.high)) <= 0.985


def test_within_groups_differences_between_them_do_not_count():
    groups = np.arange(60) // 10
    measure = GENERATOR.standard_normal(60) + 10 * groups
    metric = GENERATOR.standard_normal(60) + 10 * groups
    pooled, within = association(measure, metric), association(measure, metric, groups)
    assert pooled.estimate is not None
    assert pooled.estimate > 0.9
    assert within.estimate is not None
    assert abs(within.estimate) < 0.4
    assert within.details["groups"] == 6


def test_one_group_is_the_plain_correlation_up_to_its_interval():
    alone, grouped = association(MEASURE, METRIC), association(MEASURE, METRIC, np.zeros(15))
    assert grouped.estimate == pytest.approx(alone.estimate)
    assert grouped.interval is not None
    assert alone.interval is not None
    assert grouped.interval.low == pytest.approx(alone.interval.low)


def test_perfect_and_absent_association():
    perfect = association(MEASURE, MEASURE)
    assert perfect.interval is not None
    assert perfect.estimate == perfect.interval.high == 1
    assert perfect.interval.low < 1
    assert association(MEASURE, np.ones(15)).estimate is None
    assert association(MEASURE[:4], METRIC[:4]).estimate is None
    assert association(MEASURE, np.ones(15), np.zeros(15)).estimate is None


def sharing(generator, *, trials=8, seeds=10):
    """A measure and a metric without association, each with a part that the trials of a seed share."""
    table = pd.DataFrame(
        {"trial_id": np.repeat(np.arange(trials), seeds), "seeds.initialisation": list(range(seeds)) * trials}
    )
    for name in ("spikes", "test_accuracy"):
        shared = np.tile(generator.standard_normal(seeds), trials)
        table[name] = 0.9 * shared + 0.4 * generator.standard_normal(len(table))
    return table


def test_trials_that_share_seeds_do_not_make_chance_look_like_association():
    generator = np.random.default_rng(5)
    p_values = [
        associate(sharing(generator), measures=["spikes"], metric="test_accuracy")["p"].iloc[0] for _ in range(90)
    ]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.08


def test_crossed_replicates_are_averaged_before_they_are_associated():
    generator = np.random.default_rng(6)
    table = sharing(generator, trials=1)
    crossed = pd.concat([table.assign(**{"seeds.data_order": order}) for order in range(3)])
    once, thrice = (associate(t, measures=["spikes"], metric="test_accuracy").iloc[0] for t in (table, crossed))
    assert thrice["n"] == once["n"] == 10
    assert [thrice["low"], thrice["high"], thrice["p"]] == pytest.approx([once["low"], once["high"], once["p"]])
