from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sweeps.report.evidence import Evidence, Objective, rank, short_names
from sweeps.report.words import value_text
from tests.sweeps.report.conftest import evidence_of
from tests.sweeps.report.generator import Recipe, make


def test_trials_rank_by_the_objective_and_broken_ones_behind_the_whole() -> None:
    trials = pd.DataFrame(
        {
            "trial_id": ["a", "b", "c", "d"],
            "role": ["pruned", "pruned", "twin", "pruned"],
            "n_diverged": [0, 1, 0, 0],
            "n_failed": [0, 0, 0, 0],
            "train_loss.mean": [0.5, 0.1, 0.3, float("nan")],
        }
    )
    ranked = rank(trials, Objective("train_loss", "mean", "min"))
    assert list(ranked["trial_id"]) == ["c", "a", "b", "d"]
    assert list(ranked["number"]) == [1, 2, 3, 4]
    assert list(rank(trials, Objective("train_loss", "mean", "max"))["trial_id"]) == ["a", "c", "b", "d"]


def test_arms_are_pruned_and_unpruned_or_the_rules_where_they_differ(evidence: Evidence, storage: Path) -> None:
    assert list(evidence.arms) == ["unpruned", "pruned"]
    several = evidence_of(make(storage, Recipe(grid={"prune.rule": ["mp_threshold", "magnitude"]}, files=False)))
    assert list(several.arms) == ["unpruned", "magnitude", "mp_threshold"]
    looks = {(arm.colour, arm.mark) for arm in several.arms.values()}
    assert len(looks) == 3


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["model.kind", "prune.rule"], ["model", "rule"]),
        (["training.optimiser.lr", "model.lr"], ["optimiser.lr", "model.lr"]),
        (["a.b.kind", "c.b"], ["a.b", "c.b"]),
        (["lr"], ["lr"]),
        ([], []),
    ],
)
def test_short_names_tell_paths_apart(paths: list[str], names: list[str]) -> None:
    assert list(short_names(paths).values()) == names


def test_replicates_that_the_plan_no_longer_asks_for_are_left_out_and_counted(storage: Path) -> None:
    made = make(storage, Recipe(files=False))
    gone = made.plan["trials"].pop()
    shown = evidence_of(made)
    assert shown.left_out == len(gone["replicates"])
    assert gone["trial_id"] not in set(shown.trials["trial_id"]) | set(shown.table["trial_id"])


def test_the_given_tables_are_left_as_they_are(storage: Path) -> None:
    made = make(storage, Recipe(files=False))
    before = made.table.copy(), made.trials.copy()
    evidence_of(made)
    pd.testing.assert_frame_equal(made.table, before[0])
    pd.testing.assert_frame_equal(made.trials, before[1])


def test_a_dimension_that_is_a_mapping_is_shown_by_the_plan(storage: Path) -> None:
    """Its fields are columns of the table; it is not one itself."""
    grid = {"initialisation": [{"kind": "normal_fan_in"}, {"kind": "kaiming_uniform", "gain": 1.4}]}
    shown = evidence_of(make(storage, Recipe(grid=grid, files=False)))
    assert set(shown.trials["initialisation"]) == {"normal_fan_in", "kaiming_uniform (gain 1.4)"}
    assert shown.settings(shown.trials.iloc[0]).startswith("initialisation ")


def test_values_read_as_a_person_writes_them() -> None:
    values = [0.02, "[64, 64]", None, float("nan"), True, 3, [64, 32]]
    assert [value_text(value) for value in values] == ["0.02", "[64, 64]", "—", "—", "true", "3", "[64, 32]"]
