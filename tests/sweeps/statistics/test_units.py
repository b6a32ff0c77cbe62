from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sweeps.aggregate import trials_of
from sweeps.statistics import compare, describe_trials
from sweeps.tracking.summary import summarise
from sweeps.units import averaged, crossed_with

ACCURACY = "validation_accuracy"


def crossed(values, *, trial="t", rule="none", status=None):
    """A table of (initialisations, data orders) replicates."""
    return pd.DataFrame(
        {
            "trial_id": trial,
            "replicate_id": [f"{trial}-{i}-{j}" for i, j in np.ndindex(values.shape)],
            "role": "twin",
            "twin": None,
            "status": status or "finished",
            "seeds.initialisation": [i for i, _ in np.ndindex(values.shape)],
            "seeds.data_order": [j for _, j in np.ndindex(values.shape)],
            "seeds.split": 0,
            "prune.rule": rule,
            ACCURACY: values.ravel(),
        }
    )


def drawn(generator, *, initialisations=10, data_orders=3):
    own = generator.normal(0, 0.01, (initialisations, 1))
    return 0.9 + own + generator.normal(0, 0.003, (initialisations, data_orders))


def records_of(table):
    return [
        {
            "replicate_id": row["replicate_id"],
            "status": row["status"],
            "seeds": {name: row[f"seeds.{name}"] for name in ("initialisation", "data_order", "split")},
            "metrics": {ACCURACY: row[ACCURACY]},
        }
        for row in table.to_dict("records")
    ]


def test_crossed_replicates_of_one_initialisation_are_one_unit_everywhere():
    table = crossed(drawn(np.random.default_rng(1)))
    units = table.groupby("seeds.initialisation")[ACCURACY].mean()
    low, high = stats.t.interval(0.95, 9, units.mean(), stats.sem(units))
    [row] = trials_of(table).to_dict("records")
    wanted = [10, units.mean(), units.std(), low, high]
    names = ["n", *(f"{ACCURACY}.{name}" for name in ("mean", "sd", "ci_low", "ci_high"))]
    assert [row[name] for name in names] == pytest.approx(wanted)
    summary = summarise(records_of(table), ACCURACY)
    assert [summary[name] for name in names] == pytest.approx(wanted)
    described = describe_trials(table, statistics=["mean"]).iloc[0]
    assert [described[name] for name in ("n", "estimate", "low", "high")] == pytest.approx(wanted[:2] + wanted[3:])
    compared = compare(table, factor="prune.rule", baseline="none", metric=ACCURACY).iloc[0]
    assert [compared[name] for name in ("n", "mean", "sd", "mean_low", "mean_high")] == pytest.approx(wanted)


def test_intervals_of_crossed_trials_cover():
    generator = np.random.default_rng(2)
    trials = [crossed(drawn(generator), trial=f"t{number}") for number in range(300)]
    table = trials_of(pd.concat(trials, ignore_index=True))
    covered = (table[f"{ACCURACY}.ci_low"] < 0.9) & (table[f"{ACCURACY}.ci_high"] > 0.9)
    assert 0.91 < covered.mean() < 0.99


def test_seeds_that_are_not_crossed_are_units_as_they_are():
    table = crossed(drawn(np.random.default_rng(3), data_orders=1)).assign(**{"seeds.data_order": range(10)})
    [row] = trials_of(table).to_dict("records")
    assert (row["n"], row[f"{ACCURACY}.sd"]) == (10, table[ACCURACY].std(ddof=1))
    assert crossed_with([{"initialisation": 0}, {"initialisation": 1}]) is None


def test_a_missing_cell_does_not_make_a_unit_look_low():
    values = np.array([[0.90, 0.70], [0.91, 0.71], [0.92, 0.72]])
    places = [place for place in np.ndindex(values.shape) if place != (0, 1)]
    found = averaged([float(values[p]) for p in places], [i for i, _ in places], [j for _, j in places])
    assert list(found.values()) == pytest.approx([0.80, 0.81, 0.82])


def test_a_missing_cell_is_left_out_of_the_mean_of_a_trial_and_its_records_alike():
    values = drawn(np.random.default_rng(4))
    table = crossed(values, status=["diverged" if place == 7 else "finished" for place in range(30)])
    [row] = trials_of(table).to_dict("records")
    summary = summarise(records_of(table), ACCURACY)
    assert (row["n"], row["n_diverged"]) == (summary["n"], summary["n_diverged"]) == (10, 1)
    assert row[f"{ACCURACY}.sd"] == pytest.approx(summary[f"{ACCURACY}.sd"])
    assert row[f"{ACCURACY}.sd"] == pytest.approx(values.mean(axis=1).std(ddof=1), rel=0.1)


def test_averaging_over_a_swept_value_with_a_diverged_replicate_adds_no_variance(sweep_table):
    table = sweep_table(rates=(0.01, 0.02))
    low = table["training.optimiser.lr"] == 0.02
    table["test_accuracy"] -= 0.2 * low
    options: dict[str, Any] = {"factor": "prune.rule", "baseline": "none", "within": []}
    whole = compare(table, **options).iloc[0]
    table.loc[table.index[low][0], "status"] = "diverged"
    torn = compare(table, **options).iloc[0]
    assert (torn["n"], torn["n_diverged"]) == (10, 1)
    assert torn["sd"] == pytest.approx(whole["sd"], rel=0.2)
