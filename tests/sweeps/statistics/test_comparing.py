from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from sweeps.statistics import compare, compare_arms
from sweeps.statistics.errors import NotNumbers, UnknownBaseline, UnknownChoice, UnknownColumn


def arm(table, width="[64]", aggressiveness=None):
    chosen = table[table["model.widths"] == width]
    if aggressiveness is None:
        chosen = chosen[chosen["prune.rule"] == "none"]
    else:
        chosen = chosen[(chosen["prune.rule"] != "none") & (chosen["prune.aggressiveness"] == aggressiveness)]
    return chosen.sort_values("seeds.initialisation")["test_accuracy"].to_numpy()


def jackknifed_log_ratio(first, second):
    """The interval worked out one seed at a time, from the definition of pseudo-values."""
    n = len(first)
    whole = np.log(np.var(first, ddof=1) / np.var(second, ddof=1))
    pseudo = []
    for index in range(n):
        left, right = np.delete(first, index), np.delete(second, index)
        pseudo.append(n * whole - (n - 1) * np.log(np.var(left, ddof=1) / np.var(right, ddof=1)))
    half = stats.t.ppf(0.975, n - 1) * np.std(pseudo, ddof=1) / np.sqrt(n)
    return np.exp(whole - half), np.exp(whole + half)


def test_each_aggressiveness_is_an_arm_against_the_shared_twin(sweep_table):
    table = sweep_table(widths=("[64]", "[128]"))
    answer = compare(table, factor="prune.rule", baseline="none")
    assert list(answer["model.widths"]) == ["[64]"] * 3 + ["[128]"] * 3
    assert list(answer["arm"][:3]) == [
        "none",
        "mp_threshold, aggressiveness=0.25",
        "mp_threshold, aggressiveness=0.5",
    ]
    assert list(answer["is_baseline"]) == [True, False, False] * 2
    assert answer.attrs["columns"]["group"] == ("model.widths",)
    assert answer.attrs["family"] == (4, 4)


@pytest.mark.parametrize("filled", [None, 0.5])
def test_a_twin_that_carries_default_pruning_options_is_still_every_arms_baseline(sweep_table, filled):
    answer = compare(sweep_table(twin_aggressiveness=filled), factor="prune.rule", baseline="none")
    assert list(answer["n_pairs"][1:]) == [10, 10]


def test_the_numbers_are_scipys(sweep_table):
    table = sweep_table(widths=("[64]", "[128]"), shrink=0.4)
    answer = compare(table, factor="prune.rule", baseline="none")
    row = answer[(answer["model.widths"] == "[128]") & (answer["prune.aggressiveness"] == 0.5)].iloc[0]
    pruned, twin = arm(table, "[128]", 0.5), arm(table, "[128]")
    one = stats.t.interval(0.95, 9, pruned.mean(), stats.sem(pruned))
    paired = stats.ttest_rel(pruned, twin)
    difference = paired.confidence_interval(0.95)
    assert [row["mean"], row["mean_low"], row["mean_high"]] == pytest.approx([pruned.mean(), *one], abs=1e-10)
    assert row["sd"] == pytest.approx(np.std(pruned, ddof=1), abs=1e-12)
    assert row["difference"] == pytest.approx(np.mean(pruned - twin), abs=1e-12)
    assert [row["difference_low"], row["difference_high"]] == pytest.approx(list(difference), abs=1e-10)
    assert row["p_difference"] == pytest.approx(paired.pvalue, abs=1e-10)
    assert row["p_variances"] == pytest.approx(stats.levene(pruned, twin, center="median").pvalue, abs=1e-10)
    assert row["variance_ratio"] == pytest.approx(np.var(pruned) / np.var(twin), rel=1e-10)
    ends = jackknifed_log_ratio(pruned, twin)
    assert [row["variance_ratio_low"], row["variance_ratio_high"]] == pytest.approx(ends, rel=1e-9)


def test_holm_is_over_all_arms_of_all_groups_and_named(sweep_table):
    from statsmodels.stats.multitest import multipletests

    answer = compare(sweep_table(widths=("[64]", "[128]")), factor="prune.rule", baseline="none")
    arms = answer[~answer["is_baseline"]]
    for name in ("difference", "variances"):
        raw = arms[f"p_{name}"].to_numpy(dtype=float)
        assert arms[f"p_{name}_corrected"].to_numpy(dtype=float) == pytest.approx(
            multipletests(raw, method="holm")[1], abs=1e-10
        )
    assert answer.attrs["correction"] == "Holm"
    assert "Holm over 4 comparisons" in answer["sentence"].iloc[1]


def test_the_verdict_uses_corrected_p_values(sweep_table):
    table = sweep_table(gain=0.03, shrink=0.1, seeds=30)
    answer = compare(table, factor="prune.rule", baseline="none")
    assert list(answer["verdict"][1:]) == ["mean higher; variance lower"] * 2
    same = compare(sweep_table(gain=0.0, seeds=30), factor="prune.rule", baseline="none")
    assert set(same["verdict"][1:]) == {"no difference in means shown; no difference in variances shown"}
    worse = compare(table, factor="prune.rule", baseline="none", metric="test_loss")
    assert list(worse["verdict"][1:]) == ["mean lower; variance lower"] * 2
    assert (worse["better"][1:] > 0.9).all()  # less loss is better


def test_diverged_replicates_are_counted_not_averaged(sweep_table):
    table = sweep_table()
    broken = (table["prune.aggressiveness"] == 0.5) & (table["seeds.initialisation"] < 3)
    table.loc[broken, "status"] = ["diverged", "diverged", "failed"]
    table.loc[broken, "test_accuracy"] = [0.1, np.nan, np.nan]
    row = compare(table, factor="prune.rule", baseline="none").iloc[2]
    assert (row["n"], row["n_diverged"], row["n_failed"], row["n_pairs"]) == (7, 2, 1, 7)
    assert row["mean"] == pytest.approx(arm(table, aggressiveness=0.5)[3:].mean())
    assert row["divergence_rate"] == pytest.approx(2 / 9)
    assert row["divergence_rate_high"] == pytest.approx(stats.binomtest(2, 9).proportion_ci().high)
    assert "2 of 9 replicates diverged" in row["sentence"]


def test_rows_of_one_replicate_count_once_and_their_order_does_not_matter(sweep_table):
    table = sweep_table()
    shuffled = pd.concat([table, table.head(7)]).sample(frac=1, random_state=1)
    expected = compare(table, factor="prune.rule", baseline="none")
    pd.testing.assert_frame_equal(compare(shuffled, factor="prune.rule", baseline="none"), expected)


def test_crossed_seeds_are_not_taken_for_independent_replicates(sweep_table):
    table = sweep_table(seeds=6, data_orders=3)
    row = compare(table, factor="prune.rule", baseline="none").iloc[1]
    assert row["n"] == row["n_pairs"] == 6
    averaged = table[table["prune.aggressiveness"] == 0.25].groupby("seeds.initialisation")["test_accuracy"].mean()
    assert row["sd"] == pytest.approx(averaged.std())
    assert "averaged over data order within a seed" in row["sentence"].lower()


def test_within_averages_what_it_leaves_out(sweep_table):
    table = sweep_table(widths=("[64]", "[128]"), rates=(0.01, 0.02))
    answer = compare(table, factor="prune.rule", baseline="none", within=["model"])
    assert list(answer["model.widths"]) == ["[64]"] * 3 + ["[128]"] * 3
    assert set(answer["n"]) == {10}
    chosen = table[(table["model.widths"] == "[64]") & (table["prune.aggressiveness"] == 0.5)]
    assert answer["mean"].iloc[2] == pytest.approx(chosen["test_accuracy"].mean())
    assert "averaged over training.optimiser.lr within a seed" in answer["sentence"].iloc[0].lower()


def test_another_factor_keeps_pruning_in_the_groups_and_matches_text(sweep_table):
    answer = compare(sweep_table(rates=(0.01, 0.02)), factor="training.optimiser.lr", baseline="0.01")
    assert len(answer) == 6
    assert answer.attrs["columns"]["group"] == ("prune.rule", "prune.aggressiveness")
    assert (answer["n_pairs"][~answer["is_baseline"]] == 10).all()


def test_two_pruned_arms_are_compared_at_equal_aggressiveness(sweep_table):
    table = sweep_table()
    other = table[table["prune.rule"] != "none"].copy()
    for column in ("trial_id", "replicate_id"):
        other[column] = other[column] + "-magnitude"
    other["prune.rule"] = "magnitude"
    answer = compare(pd.concat([table, other]), factor="prune.rule", baseline="magnitude")
    compared = answer[answer["prune.rule"] == "mp_threshold"]
    assert list(compared["prune.aggressiveness"]) == [0.25, 0.5]
    assert (compared["difference"] == 0).all()
    assert compared["verdict"].str.startswith("means not tested").all()


def test_any_table_with_a_unit_a_factor_and_a_metric_will_do():
    table = pd.DataFrame({"seed": [*range(8)] * 2, "method": ["a"] * 8 + ["b"] * 8, "score": np.arange(16.0) ** 2})
    row = compare(table, factor="method", baseline="a", metric="score").iloc[1]
    expected = stats.ttest_rel(table["score"][8:].to_numpy(), table["score"][:8].to_numpy())
    assert row["p_difference"] == pytest.approx(expected.pvalue, abs=1e-10)
    by_name = compare(table, factor="method", baseline="a", metric="score", unit=["seed"]).iloc[1]
    assert by_name["p_difference"] == row["p_difference"]


def test_without_units_the_arms_are_independent_samples():
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"method": ["a"] * 8 + ["b"] * 9, "score": generator.standard_normal(17)})
    row = compare(table, factor="method", baseline="a", metric="score").iloc[1]
    expected = stats.ttest_ind(table["score"][8:], table["score"][:8], equal_var=False)
    assert row["p_difference"] == pytest.approx(expected.pvalue, abs=1e-10)
    assert row["n_pairs"] == 0


def no_nan(answer):
    numbers = answer.select_dtypes("number").to_numpy(dtype=object, na_value=None)
    return not any(isinstance(x, float) and not np.isfinite(x) for x in numbers.ravel())


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "one replicate": ({"seeds": 1}, {}, "an interval needs at least 2"),
    "two replicates": ({"seeds": 2}, {}, "an interval needs at least 4"),
    "a factor that does not vary": (
        {},
        {"factor": "model.kind", "baseline": "mlp"},
        "model.kind is mlp throughout",
    ),
    "a baseline that is two configurations": (
        {"aggressiveness": (0.25, 0.5)},
        {"factor": "role", "baseline": "pruned", "within": ["model.kind"]},
        "not one configuration here but 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_a_sentence(sweep_table, case):
    table_options, options, words = BAD[case]
    answer = compare(sweep_table(**table_options), **{"factor": "prune.rule", "baseline": "none", **options})
    assert answer["sentence"].str.contains(words, regex=False).any()
    assert answer["sentence"].str.endswith(".").all()
    assert no_nan(answer)


def test_a_baseline_that_no_replicate_has_teaches_those_there_are(sweep_table):
    with pytest.raises(UnknownBaseline, match=r"prune\.rule = haar; known here: mp_threshold, none$"):
        compare(sweep_table(), factor="prune.rule", baseline="haar")


def test_a_group_without_the_baseline_says_so(sweep_table):
    table = sweep_table(widths=("[64]", "[128]"))
    gone = (table["prune.rule"] == "none") & (table["model.widths"] == "[64]")
    answer = compare(table[~gone], factor="prune.rule", baseline="none")
    assert answer["sentence"].str.contains("no replicate here has prune.rule = none; known here: ").sum() == 2
    assert set(answer["verdict"]) >= {"not compared", ""}
    assert no_nan(answer)


def test_all_diverged_gives_a_sentence(sweep_table):
    table = sweep_table()
    gone = table["prune.rule"] != "none"
    table.loc[gone, "status"] = "diverged"
    answer = compare(table, factor="prune.rule", baseline="none")
    assert list(answer["n"]) == [10, 0, 0]
    assert answer["sentence"].str.contains("10 of 10 replicates diverged").sum() == 2
    assert answer["verdict"].iloc[1] == "means not tested; variances not tested; diverges more often"
    assert no_nan(answer)


def test_no_common_seed_is_compared_unpaired_and_said(sweep_table):
    table = sweep_table()
    table.loc[table["prune.rule"] == "none", "seeds.initialisation"] += 100
    answer = compare(table, factor="prune.rule", baseline="none")
    assert list(answer["n_pairs"][1:]) == [0, 0]
    assert answer["sentence"].iloc[1].count("no seed in common") == 1
    expected = stats.ttest_ind(arm(table, aggressiveness=0.25), arm(table), equal_var=False).pvalue
    assert answer["p_difference"].iloc[1] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("constant", ["none", "mp_threshold", "both"])
def test_constant_metrics_give_a_sentence(sweep_table, constant):
    table = sweep_table()
    chosen = (table["prune.rule"] == constant) | (constant == "both")
    table.loc[chosen, "test_accuracy"] = 0.5
    answer = compare(table, factor="prune.rule", baseline="none")
    assert answer["sentence"].str.contains("replicates gave 0.5").any()
    assert no_nan(answer)


def test_collapsed_replicates_are_said_and_spreads_shown_with_and_without(sweep_table):
    table = sweep_table(shrink=1.0, gain=0.0)
    dead = (table["prune.rule"] == "none") & (table["seeds.initialisation"] < 2)
    table.loc[dead, "test_accuracy"] -= 0.5
    answer = compare(table, factor="prune.rule", baseline="none")
    twin, pruned = answer.iloc[0], answer.iloc[1]
    assert twin["n_collapsed"] == 2
    assert twin["sd_healthy"] < 0.1 * twin["sd"]
    assert pruned["variance_ratio"] < 0.01
    assert 0.1 < pruned["variance_ratio_healthy"] < 10
    assert "Among seeds healthy in both arms" in pruned["sentence"]


def test_dead_networks_count_as_broken_whatever_their_accuracy(sweep_table):
    table = sweep_table()
    table.loc[table["replicate_id"] == "[64]-0.01-none-None-4-0", "classes_never_predicted"] = 2
    assert compare(table, factor="prune.rule", baseline="none")["n_collapsed"].iloc[0] == 1


def test_names_that_are_no_columns_teach_those_that_are(sweep_table):
    table = sweep_table()
    for wrong in ({"factor": "prune.rul"}, {"metric": "accuracy"}, {"within": ["optimiser"]}, {"unit": ["sed"]}):
        with pytest.raises(UnknownColumn, match=r"no column .*; known: .*prune\.rule"):
            compare(table, **({"factor": "prune.rule", "baseline": "none"} | wrong))


@pytest.mark.parametrize("column", ["status", "prune.rule", "model.widths"])
def test_a_column_of_text_is_no_metric(sweep_table, column):
    with pytest.raises(
        NotNumbers, match=f"{column} is no metric: it holds '.*'; columns of numbers: .*test_accuracy"
    ):
        compare(sweep_table(), factor="prune.rule", baseline="none", metric=column)


def test_the_table_is_left_as_it_was(sweep_table):
    table = sweep_table()
    before = table.copy()
    compare(table, factor="prune.rule", baseline="none")
    pd.testing.assert_frame_equal(table, before)


def test_findings_behind_the_table_carry_their_method(sweep_table):
    answers = compare_arms(sweep_table(), factor="prune.rule", baseline="none")
    versus = answers.rows[1].versus
    assert versus is not None
    assert versus.difference.method == "paired t"
    assert versus.ratio.method.startswith("jackknife t on the log variance ratio")
    assert versus.equality.method == "Brown–Forsythe"
    paired = compare_arms(
        sweep_table(), factor="prune.rule", baseline="none", variance_test="paired_brown_forsythe"
    ).rows[1]
    assert paired.versus is not None
    assert paired.versus.equality.method == "Brown–Forsythe, paired by seed"


def test_importing_the_package_is_light():
    import subprocess
    import sys

    code = (
        "import sys, sweeps.statistics; print([m for m in ('scipy', 'pandas', 'statsmodels') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rates_of_broken_networks_are_there_compared_and_corrected(sweep_table):
    table = sweep_table()
    gone = (table["prune.aggressiveness"] == 0.5) & (table["seeds.initialisation"] < 8)
    table.loc[gone, "status"] = "diverged"
    table.loc[table["prune.rule"].eq("none") & (table["seeds.initialisation"] < 9), "classes_never_predicted"] = 3
    answer = compare(table, factor="prune.rule", baseline="none").set_index("prune.aggressiveness")
    row = answer.loc[0.5]
    fisher = stats.fisher_exact(np.array([[8, 2], [0, 10]])).pvalue
    assert row["p_divergence"] == pytest.approx(fisher)
    assert row["p_divergence_corrected"] == pytest.approx(2 * fisher)
    assert row["divergence_difference"] == pytest.approx(0.8)
    assert "diverges more often" in row["verdict"]
    other = answer.loc[0.25]
    assert (other["n_dead"], other["dead_rate"]) == (0, 0)
    assert other["dead_rate_high"] == pytest.approx(stats.binomtest(0, 10).proportion_ci().high)
    assert other["dead_difference"] == pytest.approx(-0.9)
    assert other["p_dead"] == pytest.approx(stats.fisher_exact(np.array([[0, 10], [9, 1]])).pvalue)
    assert "dead networks less often" in other["verdict"]
    assert "Dead networks: 0 of 10 replicates failed against 9 of 10" in other["sentence"]
    unknown = compare(table.drop(columns="classes_never_predicted"), factor="prune.rule", baseline="none")
    assert unknown["dead_rate"].isna().all()
    assert unknown["n_dead"].isna().all()


def test_a_rate_of_divergence_over_crossed_seeds_counts_initialisations(sweep_table):
    table = sweep_table(seeds=10, data_orders=3)
    gone = (table["prune.aggressiveness"] == 0.5) & (table["seeds.initialisation"] < 2)
    table.loc[gone, "status"] = "diverged"
    row = compare(table, factor="prune.rule", baseline="none").set_index("prune.aggressiveness").loc[0.5]
    assert row["n_diverged"] == 6
    assert row["divergence_rate"] == pytest.approx(0.2)
    assert row["divergence_rate_high"] == pytest.approx(stats.binomtest(2, 10).proportion_ci().high)
    assert "6 of 30 replicates diverged, in no mean: rate 0.2 of seeds" in row["sentence"]


def test_a_margin_tests_equivalence_and_corrects_it(sweep_table):
    table = sweep_table(gain=0.0001)
    answer = compare(table, factor="prune.rule", baseline="none", margin=0.02)
    values = {
        a: rows["test_accuracy"].to_numpy() for a, rows in table.groupby("prune.aggressiveness", dropna=False)
    }
    twin = table[table["prune.rule"] == "none"]["test_accuracy"].to_numpy()
    expected = [ttost_paired(values[a], twin, -0.02, 0.02)[0] for a in (0.25, 0.5)]
    assert list(answer["p_equivalence"][1:]) == pytest.approx(expected)
    holm = multipletests(expected, method="holm")[1]
    assert list(answer["p_equivalence_corrected"][1:]) == pytest.approx(list(holm))
    assert answer["verdict"][1:].str.startswith("means equivalent within ±0.02").all()
    assert answer["sentence"][1:].str.contains("Equivalent within ±0.02: difference").all()
    without = compare(table, factor="prune.rule", baseline="none")
    assert without["p_equivalence"].isna().all()
    for margin in (0.0, -1.0, float("nan")):
        with pytest.raises(UnknownChoice, match=r"margin is .*; allowed: finite and above 0"):
            compare(table, factor="prune.rule", baseline="none", margin=margin)


def test_three_arms_are_ranked_and_two_are_not(sweep_table):
    table = sweep_table(aggressiveness=(0.25, 0.5), gain=0.05)
    ranked = compare(table, factor="prune.rule", baseline="none").attrs["ranking"]
    assert len(ranked) == 3
    assert ranked[-1].startswith("none: mean rank 3.00 of 3 over 10 blocks")
    assert "not told apart" in ranked[0]
    two = table[table["prune.aggressiveness"] != 0.5]
    assert compare(two, factor="prune.rule", baseline="none").attrs["ranking"] == []


def test_no_excess_is_corrected_over_all_arms(sweep_table):
    table = sweep_table()
    generator = np.random.default_rng(0)
    correct = {name: generator.random(500) < 0.9 for name in table["replicate_id"]}
    table["test_accuracy"] = [bits.mean() for bits in correct.values()]
    answer = compare(table, factor="prune.rule", baseline="none", correct=correct)
    p_values = answer["p_excess"].to_numpy(dtype=float)
    assert list(answer["p_excess_corrected"]) == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    assert answer["sentence"].str.contains("Holm over 3 arms: p = ").all()
