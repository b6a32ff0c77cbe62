from typing import Any

import pytest

from sweeps.assembly import build_trial
from sweeps.identity import (
    active_fields,
    current_defaults,
    frozen_defaults,
    replicate_id,
    trial_id,
    trial_identity,
)
from sweeps.seeds import Seeds

PRUNED: dict[str, Any] = {
    "model": {"kind": "mlp", "widths": [32]},
    "training": {"epochs": 6, "optimiser": {"kind": "sgd", "lr": 0.05}},
    "prune": {"rule": "mp_threshold", "aggressiveness": 0.5, "every": 2},
}


def trial(**changes):
    return build_trial({**PRUNED, **changes})


def test_the_code_has_the_defaults_that_records_were_named_by():
    """For a new field or option run `python -m sweeps.freeze_defaults`; a changed default is a new version."""
    changed = {
        path: value for path, value in current_defaults().items() if frozen_defaults().get(path, value) != value
    }
    assert not changed
    assert set(current_defaults()) <= set(frozen_defaults())


def test_writing_a_default_out_does_not_change_the_identity():
    written = trial(training={**PRUNED["training"], "l1": 0.0, "batch_size": 128})
    assert trial_id(written, "f") == trial_id(trial(), "f")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"kind": "mlp", "widths": [33]}},
        {"training": {**PRUNED["training"], "epochs": 7}},
        {"training": {**PRUNED["training"], "optimiser": {"kind": "sgd", "lr": 0.051}}},
        {"training": {**PRUNED["training"], "l2": 1e-6}},
        {"prune": {**PRUNED["prune"], "aggressiveness": 0.51}},
        {"prune": {**PRUNED["prune"], "noise": {"kind": "bema", "beta": 0.1}}},
        {"initialisation": {"kind": "kaiming_uniform"}},
        {"data": {"kind": "digits", "validation": 300}},
    ],
)
def test_whatever_can_change_a_number_changes_the_identity(changes):
    assert trial_id(trial(**changes), "f") != trial_id(trial(), "f")


def test_the_data_itself_counts_and_not_where_it_lies():
    here = trial(data={"kind": "fashion_mnist", "root": "/a"})
    there = trial(data={"kind": "fashion_mnist", "root": "/b"})
    assert trial_id(here, "f") == trial_id(there, "f")
    assert trial_id(here, "f") != trial_id(here, "g")


def test_a_twin_does_not_depend_on_how_its_siblings_are_pruned():
    other = trial(prune={"rule": "mp_threshold", "aggressiveness": 0.9, "every": 3})
    assert trial_id(trial().twin, "f") == trial_id(other.twin, "f")
    assert not any(path.startswith("prune.") for path in active_fields(trial().twin))


def test_a_budget_takes_the_place_of_the_aggressiveness():
    one = trial(prune={**PRUNED["prune"], "budget": 0.5, "aggressiveness": 0.1})
    two = trial(prune={**PRUNED["prune"], "budget": 0.5, "aggressiveness": 0.9})
    assert trial_id(one, "f") == trial_id(two, "f")


def test_writing_a_rules_default_out_does_not_change_the_identity():
    written = trial(prune={**PRUNED["prune"], "options": {"keep_fraction": None}})
    assert trial_id(written, "f") == trial_id(trial(), "f")
    other = trial(prune={**PRUNED["prune"], "options": {"keep_fraction": 0.25}})
    assert trial_id(other, "f") != trial_id(trial(), "f")


def test_defaults_written_out_inside_lists_do_not_change_the_identity():
    def named(augmentation, layers):
        return trial(
            training={**PRUNED["training"], "augmentation": augmentation},
            prune={**PRUNED["prune"], "layers": layers},
        )

    short = named(["crop"], [{"match": "head", "rule": "magnitude"}])
    written = {"match": "head", "rule": "magnitude", "aggressiveness": None, "options": {"scope": "layer"}}
    assert trial_id(named([{"kind": "crop", "padding": 4}], [written]), "f") == trial_id(short, "f")
    found = trial_identity(short, "f")["configuration"]
    assert found["training.augmentation"] == [{"kind": "crop"}]
    assert found["prune.layers"] == [{"match": "head", "rule": "magnitude"}]
    others = [
        named([{"kind": "crop", "padding": 3}], [written]),
        named([], [written]),
        named(["crop"], [{**written, "aggressiveness": 0.1}]),
        named(["crop"], [{**written, "options": {"scope": "global"}}]),
        named(["crop"], [written, {"match": "linear1", "options": {"horizon": None}}]),
    ]
    assert len({trial_id(one, "f") for one in [short, *others]}) == 1 + len(others)


def test_seeds_name_the_replicate_and_not_the_trial():
    names = {replicate_id(trial(), "f", Seeds(*s)) for s in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len(names) == 4


def test_the_identity_holds_only_what_differs_from_the_frozen_defaults():
    found = trial_identity(trial(), "f")["configuration"]
    assert found["model.widths"] == [32]
    assert "training.batch_size" not in found
    assert found["model.kind"] == "mlp"


def test_a_level_that_every_estimator_shares_is_what_the_estimator_gets_and_part_of_the_identity():
    other = trial(prune={**PRUNED["prune"], "noise": {"kind": "bema", "beta": 0.2}})
    assert other.prune.noise.options["beta"] == other.document()["prune"]["noise"]["beta"] == 0.2
    assert trial_identity(other, "f")["configuration"]["prune.noise.beta"] == 0.2
