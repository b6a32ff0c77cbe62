import numpy as np
import pytest
from scipy import stats

from sweeps.statistics import associate, compare, decompose, describe_trials, measures_of, rank_arms
from sweeps.statistics.errors import UnknownColumn


def test_every_trial_is_described_and_its_divergence_counted(sweep_table):
    table = sweep_table()
    last = table["trial_id"].iloc[-1]
    table.loc[(table["trial_id"] == last) & (table["seeds.initialisation"] < 4), "status"] = "diverged"
    answer = describe_trials(table, metric="test_accuracy", statistics=["mean", "sd"])
    assert list(answer["statistic"]) == ["mean", "sd", "divergence_rate", "dead_rate"] * 3
    one = answer[answer["trial_id"] == last].set_index("statistic")
    assert one.loc["mean", "n"] == 6
    assert one.loc["divergence_rate", "estimate"] == pytest.approx(0.4)
    rows = table[(table["trial_id"] == last) & (table["status"] == "finished")]
    assert one.loc["sd", "estimate"] == pytest.approx(rows["test_accuracy"].std())


def test_a_trial_that_only_diverged_is_still_there(sweep_table):
    table = sweep_table(aggressiveness=(0.5,))
    table.loc[table["prune.rule"] != "none", "status"] = "diverged"
    answer = describe_trials(table, metric="test_accuracy")
    assert answer["trial_id"].nunique() == 2
    assert answer["sentence"].str.endswith(".").all()


def test_shares_go_to_seeds_dimensions_and_pruning_as_one(sweep_table):
    answer = decompose(sweep_table(widths=("[64]", "[128]"), gain=0.05), metric="test_accuracy").set_index(
        "factor"
    )
    assert list(answer.index) == ["seeds.initialisation", "model.widths", "prune", "interactions"]
    assert answer["estimate"].sum() == pytest.approx(1)
    assert answer["p"].to_dict()["prune"] < 0.01
    assert answer["estimate"].idxmax() == "prune"


def test_crossed_seeds_are_told_apart(sweep_table):
    answer = decompose(
        sweep_table(seeds=6, data_orders=3),
        metric="test_accuracy",
        factors=["seeds.initialisation", "seeds.data_order"],
    )
    assert list(answer["factor"]) == ["seeds.initialisation", "seeds.data_order", "residual"]


def test_measures_are_associated_within_trials_and_corrected_together(sweep_table):
    table = sweep_table(seeds=12)
    generator = np.random.default_rng(0)
    table["spikes"] = table["test_accuracy"].rank() + 10 * (table["prune.rule"] == "none")
    table["noise"] = generator.standard_normal(len(table))
    assert measures_of(table, "test_accuracy") == ["test_loss", "spikes", "noise"]
    answer = associate(table, measures=["spikes", "noise"], metric="test_accuracy").set_index("measure")
    assert answer["estimate"].to_dict()["spikes"] > 0.99
    assert (answer["p_corrected"] >= answer["p"]).all()
    alone = associate(table.head(12), measures=["noise"], metric="test_accuracy")["estimate"].iloc[0]
    assert alone == pytest.approx(stats.spearmanr(table["noise"][:12], table["test_accuracy"][:12]).statistic)


def test_arms_are_ranked_over_seeds_that_all_of_them_finished(sweep_table):
    table = sweep_table(widths=("[64]", "[128]"), gain=0.05)
    table.loc[0, "status"] = "diverged"
    answer = rank_arms(table, factor="prune.rule", baseline="none", metric="test_accuracy")
    assert set(answer["n"]) == {19}
    assert answer["arm"].iloc[-1] == "none"
    assert answer["estimate"].iloc[-1] == 3


def test_names_that_are_no_columns_are_refused(sweep_table):
    table = sweep_table()
    for ask in (
        lambda: describe_trials(table, metric="accuracy"),
        lambda: decompose(table, metric="test_accuracy", factors=["seeds.dropout"]),
        lambda: associate(table, measures=["spikes"], metric="test_accuracy"),
        lambda: rank_arms(table, factor="rule", baseline="none"),
    ):
        with pytest.raises(UnknownColumn, match="known: "):
            ask()


def test_a_collapse_is_looked_for_on_the_bad_side_and_in_steps_of_the_metric(sweep_table):
    table = sweep_table(aggressiveness=())
    table.loc[[2, 5], "test_loss"] = 2.3
    answer = describe_trials(table, metric="test_loss", statistics=["collapse"])
    assert answer["estimate"].iloc[0] == 2
    tied = table.assign(test_accuracy=[0.95] * 7 + [0.94, 0.93, 0.94])
    answer = describe_trials(tied, metric="test_accuracy", statistics=["collapse"])
    assert answer["estimate"].iloc[0] == 0


def test_a_rate_of_divergence_is_over_those_that_finished_or_diverged(sweep_table):
    table = sweep_table(aggressiveness=())
    table.loc[:3, "status"] = ["diverged", "stopped", "failed", "finished"]
    table.loc[3, "test_accuracy"] = None
    rate = describe_trials(table, statistics=(), metric="test_accuracy").iloc[0]
    compared = compare(table, factor="prune.rule", baseline="none").iloc[0]
    assert rate["n"] == 8
    assert rate["estimate"] == compared["divergence_rate"] == 1 / 8
