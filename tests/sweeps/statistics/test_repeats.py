from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweeps.statistics import compare
from sweeps.statistics.errors import Collision

OPTIONS: dict[str, Any] = {"factor": "rule", "baseline": "none"}


def plain(rates=(0.01,), **extra):
    """A table without dotted names: rule, lr, seed, test_accuracy."""
    generator = np.random.default_rng(0)
    rows = [
        {"rule": rule, "lr": rate, "seed": seed, "test_accuracy": 0.9 + generator.normal(0, 0.01), **extra}
        for rule in ("none", "mp")
        for rate in rates
        for seed in range(8)
    ]
    return pd.DataFrame(rows)


def test_a_plain_column_that_varies_is_refused_by_name_and_may_be_a_group():
    table = plain((0.01, 0.02))
    with pytest.raises(Collision, match=r"seed = 0 more than once; the rows differ in lr: name in `within`"):
        compare(table, **OPTIONS)
    assert list(compare(table, within=["lr"], **OPTIONS)["lr"]) == [0.01, 0.01, 0.02, 0.02]


def test_a_seed_that_an_arm_has_twice_is_refused():
    table = pd.concat([plain(), plain().head(1).assign(test_accuracy=0.5)], ignore_index=True)
    with pytest.raises(Collision, match="seed = 0 twice, with different test_accuracy"):
        compare(table, **OPTIONS)


def test_replicate_ids_that_arms_share_are_refused():
    table = plain()
    with pytest.raises(Collision, match="rows under replicate_id 0 differ in rule, test_accuracy"):
        compare(table.assign(replicate_id=table["seed"]), **OPTIONS)


def test_trials_that_differ_in_what_is_measured_are_one_only_if_their_numbers_are(sweep_table):
    table = sweep_table(aggressiveness=(0.5,)).assign(**{"measures.end": "[]"})
    again = table.assign(**{"measures.end": "[certify]", "sharpness": 1.5})
    again[["trial_id", "replicate_id"]] += "-certified"
    options: dict[str, Any] = {"factor": "prune.rule", "baseline": "none"}
    expected = compare(table, **options)
    pd.testing.assert_frame_equal(compare(pd.concat([table, again]), **options), expected)
    again["test_accuracy"] += 0.01
    with pytest.raises(Collision, match="with different test_accuracy"):
        compare(pd.concat([table, again]), **options)
