import json
import pickle
from typing import Any

import pytest

from sweeps import records
from sweeps.errors import SpecError
from sweeps.identity import replicate_id
from sweeps.planned import PlannedTrial
from sweeps.planning import make_plan
from sweeps.spec import build_spec
from sweeps.trial_spec import TrialSpec

SPEC: dict[str, Any] = {
    "name": "plan",
    "trial": {"model": {"kind": "mlp", "widths": [16]}, "training": {"epochs": 4}, "prune": {"every": 2}},
    "space": {
        "training.optimiser.lr": {"grid": [0.01, 0.1]},
        "prune.aggressiveness": {"grid": [0.5, 0.75, 1.0]},
    },
    "replicates": {"initialisation": 3},
}


def plan(**changes):
    return make_plan(build_spec({**SPEC, **changes}), lambda data: f"print of {data.kind}")


def test_twins_come_first_and_are_shared_by_their_siblings():
    made = plan()
    assert len(made) == 2 + 6
    assert made.replicates == 24
    roles = [trial.role for trial in made]
    assert roles == ["twin"] * 2 + ["pruned"] * 6
    twins = {trial.trial_id: trial for trial in made if trial.role == "twin"}
    for trial in made:
        if trial.role == "pruned":
            assert trial.twin is not None
            twin = twins[trial.twin]
            assert twin.point == {"training.optimiser.lr": trial.point["training.optimiser.lr"]}
            assert [r.seeds for r in twin.replicates] == [r.seeds for r in trial.replicates]


def test_without_a_baseline_no_twin_is_planned():
    made = plan(baseline=False)
    assert [trial.role for trial in made] == ["pruned"] * 6
    assert all(trial.twin is None for trial in made)


def test_a_rule_of_none_in_the_grid_is_the_twin():
    made = plan(space={"prune.rule": {"grid": ["none", "mp_threshold"]}, **SPEC["space"]})
    assert [trial.role for trial in made].count("twin") == 2
    assert len(made) == 8


def test_points_that_differ_in_nothing_are_one_trial():
    made = plan(
        space={"prune.rule": {"grid": ["none"]}, "prune.aggressiveness": {"grid": [0.1, 0.9]}}, baseline=False
    )
    assert len(made) == 1


def test_a_point_that_is_not_valid_is_named():
    space = {"training.epochs": {"grid": [4, 2]}, "prune.every": {"grid": [1, 2]}}
    with pytest.raises(SpecError, match=r"prune.every.*training of 2 epochs.*at the point.*'training.epochs': 2"):
        plan(space=space)


def test_the_document_is_plain_and_complete():
    plain = json.loads(json.dumps(plan().document()))
    assert plain["sweep"] == "plan"
    assert plain["dimensions"] == list(SPEC["space"])
    assert plain["trials"][-1]["config"]["prune"]["aggressiveness"] == 1.0
    assert plain["trials"][-1]["replicates"][2]["seeds"] == {"initialisation": 2, "data_order": 0, "split": 0}


def test_a_trial_is_the_same_wherever_it_has_travelled():
    for trial in plan():
        for travelled in (
            pickle.loads(pickle.dumps(trial)),  # noqa: S301 - written in the same line
            PlannedTrial.from_document(json.loads(json.dumps(trial.document()))),
        ):
            assert travelled == trial
            assert travelled.replicates.seeds == trial.replicates.seeds
            assert [r.replicate_id for r in travelled.replicates] == [
                replicate_id(trial.spec, trial.fingerprint, seeds) for seeds in trial.replicates.seeds
            ]


def test_progress_reads_the_state_of_each_replicate(tmp_path):
    made = plan()
    trial = made.trials[0]
    for replicate, status in zip(trial.replicates, ("finished", "failed", None), strict=True):
        recorder = records.Recorder(records.replicate_folder(tmp_path, trial.trial_id, replicate.replicate_id))
        recorder.append({"epoch": 1})
        if status:
            recorder.finish({"status": status, "reason": ""}, {})
    records.Recorder(tmp_path / "trials" / "other" / "replicate").finish({"status": "finished", "reason": ""}, {})
    progress = made.progress(tmp_path)
    assert progress.counts == {"finished": 1, "failed": 1, "started": 1, "new": 21}
    assert progress.others == 1
    assert progress.to_train(made.trials[1]) == made.trials[1].replicates
    assert [r.replicate_id for r in progress.to_train(trial)] == [r.replicate_id for r in trial.replicates[1:]]


def test_more_seeds_and_cells_keep_the_names_of_those_there_were():
    names = {r.replicate_id for trial in plan() for r in trial.replicates}
    space = {**SPEC["space"], "training.optimiser.lr": {"grid": [0.01, 0.03, 0.1]}}
    more = {
        r.replicate_id for trial in plan(space=space, replicates={"initialisation": 5}) for r in trial.replicates
    }
    assert names < more


def test_a_new_name_of_the_sweep_changes_no_identity():
    assert [t.trial_id for t in plan()] == [t.trial_id for t in plan(name="other")]


def test_what_only_a_whole_trial_can_tell_is_asked_in_the_one_place_that_plans_ask_too():
    asked = set(TrialSpec.__pydantic_decorators__.model_validators)
    assert asked == {"_as_given", "_fits_together"}  # of sections as given; of sections together


def test_sections_that_are_right_alone_and_wrong_together_are_refused_at_their_point():
    space = {"training.epochs": {"grid": [4, 2]}, "prune.every": {"grid": [3, 1]}}
    with pytest.raises(SpecError, match=r"prune\.every: 3 is no pruning at all in a training of 2 epochs"):
        plan(space=space)
