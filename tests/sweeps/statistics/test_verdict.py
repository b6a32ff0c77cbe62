from typing import Any

import numpy as np

from sweeps.statistics import compare, compare_arms
from sweeps.statistics.comparison import Versus
from sweeps.statistics.power import detectable_ratio
from sweeps.statistics.verdict import variance_change

OPTIONS: dict[str, Any] = {"factor": "prune.rule", "baseline": "none"}


def repaired(sweep_table, *, shrink=1.0):
    """A baseline with six collapsed seeds of twenty, and an arm in which none collapses."""
    table = sweep_table(seeds=20, aggressiveness=(0.5,), gain=0.0, shrink=shrink)
    broken = (table["prune.rule"] == "none") & (table["seeds.initialisation"] < 6)
    table.loc[broken, "test_accuracy"] = 0.1 + 0.001 * table["seeds.initialisation"]
    return table


def test_a_variance_lowered_by_repaired_collapses_is_named_as_that(sweep_table):
    row = compare(repaired(sweep_table), **OPTIONS).iloc[1]
    assert row["p_variances_corrected"] < 0.05 < row["p_variances_healthy_corrected"]
    assert row["verdict"].endswith("; variance lower by repaired collapses")


def test_a_variance_lower_among_healthy_seeds_too_is_said(sweep_table):
    row = compare(repaired(sweep_table, shrink=0.2), **OPTIONS).iloc[1]
    assert row["p_variances_healthy_corrected"] < 0.05
    assert row["verdict"].endswith("; variance lower, also among healthy seeds")


def test_collapses_that_the_arm_brings_are_named_too(sweep_table):
    table = repaired(sweep_table)
    table["prune.rule"] = np.where(table["prune.rule"] == "none", "mp_threshold", "none")
    table["prune.aggressiveness"] = None
    assert compare(table, **OPTIONS)["verdict"].iloc[1].endswith("; variance higher by new collapses")


def far_value(sweep_table) -> Versus:
    """An arm of smaller deviations but for one value so far off that its variance is the larger."""
    table = sweep_table(seeds=60, aggressiveness=(0.5,), gain=0.0, shrink=0.1)
    place = table.index[table["prune.rule"] != "none"][0]
    table.loc[place, "test_accuracy"] = 1.02
    [_, row] = compare_arms(table, **OPTIONS).rows
    assert row.versus is not None
    return row.versus


def test_no_direction_of_the_variance_is_claimed_that_its_ratio_contradicts(sweep_table):
    versus = far_value(sweep_table)
    assert versus.equality.estimate is not None
    assert versus.ratio.estimate is not None
    assert versus.equality.estimate < 0
    assert versus.ratio.estimate > 1
    change = variance_change(versus, 0.05)
    assert change is not None
    assert (change.subject, change.text) == ("typical deviation", "lower")
    assert not change.is_of_variance


def test_findings_over_crossed_seeds_are_conditional_on_those(sweep_table):
    answer = compare(sweep_table(seeds=6, data_orders=3), **OPTIONS)
    assert "Conditional on one split and these 3 data orders; averaged over" in answer["sentence"].iloc[1]


def test_what_could_have_been_seen_is_what_the_corrected_test_sees(sweep_table):
    table = sweep_table(seeds=20, aggressiveness=(0.25, 0.5, 0.75, 0.9))
    corrected, alone = (compare(table, correction=name, **OPTIONS).iloc[1] for name in ("holm", "none"))
    expected = detectable_ratio(20, level=1 - 0.05 / 4).estimate
    assert corrected["detectable_ratio"] == expected > alone["detectable_ratio"]
    assert corrected["detectable_difference"] > alone["detectable_difference"]
    assert "This is at the corrected level." in corrected["sentence"]
    assert "corrected level" not in alone["sentence"]
