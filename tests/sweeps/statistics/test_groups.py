import numpy as np
import pandas as pd
import pytest

from sweeps.statistics import compare
from sweeps.statistics.cells import cell, matches, order
from sweeps.statistics.columns import assign
from sweeps.statistics.groups import arrange


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.nan, None),
        (None, None),
        (pd.NA, None),
        ([64, 32], "[64, 32]"),
        (np.float64(0.5), 0.5),
        ("none", "none"),
    ],
)
def test_cells_are_values_that_can_be_grouped_by(value, expected):
    assert cell(value) == expected


def test_cells_sort_as_people_would():
    values = ["[128]", "[64]", None, 0.5, "mlp", 2, "[64, 32]"]
    assert sorted(values, key=order) == [0.5, 2, "[64]", "[64, 32]", "[128]", "mlp", None]


MATCHES = [
    (0.01, "0.010", True),
    (0.01, "1e-2", True),
    ("none", "none", True),
    ("none", None, False),
    (None, None, True),
    (True, "true", True),
    (True, True, True),
    (False, "true", False),
    (True, "1", False),
    (1, "mlp", False),
    ("0.5", 0.5, True),
]


@pytest.mark.parametrize(("value", "wanted", "same"), MATCHES)
def test_a_value_typed_on_a_command_line_is_matched(value, wanted, same):
    assert matches(value, wanted) is same


def test_what_the_baseline_does_not_have_belongs_to_the_arm():
    rows = [("sgd", 0.9), ("sgd", 0.8), ("adam", None)]
    table = pd.DataFrame(
        {
            "seed": [0, 1] * 3,
            "training.optimiser.kind": [kind for kind, _ in rows for _ in range(2)],
            "training.optimiser.momentum": [momentum for _, momentum in rows for _ in range(2)],
            "test_accuracy": np.linspace(0.8, 0.9, 6),
        }
    )
    columns = assign(table, "training.optimiser.kind", "adam")
    assert (columns.group, columns.arm, columns.unit) == ((), ("training.optimiser.momentum",), ("seed",))
    (group,) = arrange(table, columns, "adam", "test_accuracy")
    assert len(group.baselines) == 1
    assert [arm.settings["training.optimiser.momentum"] for arm in group.arms] == [0.8, 0.9]


def test_numbers_that_differ_between_replicates_are_no_configuration(sweep_table):
    table = sweep_table()
    table["spectra.fc1"] = np.arange(len(table))
    table["measures.end"] = ["[]", '["certify"]'] * (len(table) // 2)
    assert assign(table, "prune.rule", "none").group == ()


def test_lists_are_settings_too(sweep_table):
    table = sweep_table(widths=("[64]", "[128]"))
    table["model.widths"] = [[64] if text == "[64]" else [128] for text in table["model.widths"]]
    assert assign(table, "prune.rule", "none").group == ("model.widths",)


def test_an_option_that_a_kind_sets_is_no_dimension_of_its_own(sweep_table):
    table = sweep_table(rates=(0.01, 0.02))
    table["training.schedule.factor"] = table["training.optimiser.lr"] * 10
    columns = assign(table, "prune.rule", "none")
    assert columns.group == ("training.optimiser.lr",)


def test_what_differs_only_with_the_factor_is_said_when_groups_are_named(sweep_table):
    table = sweep_table()
    table["training.l1"] = np.where(table["prune.rule"] == "none", 0.0, 1e-5)
    assert assign(table, "prune.rule", "none").group == ("training.l1",)
    named = compare(table, factor="prune.rule", baseline="none", within=["model"])
    assert list(named["n_pairs"][1:]) == [10, 10]
    assert named["sentence"].str.contains("not told apart from training.l1, which differ").all()
