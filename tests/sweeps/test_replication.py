"""Seeds added where they are needed: from records alone, the same whenever one asks."""

import json

import numpy as np
import pytest

from sweeps import records
from sweeps.errors import SpecError
from sweeps.planning import make_plan
from sweeps.replication import extended, line, look
from sweeps.spec import build_spec
from sweeps.statistics.sequential import look_level, looks, seeds_needed
from sweeps.statistics.stopping import stopped


def spec_of(**replicates):
    plain = {
        "name": "adaptive",
        "trial": {"training": {"epochs": 4}, "prune": {"every": 2}},
        "space": {"prune.aggressiveness": {"grid": [0.5, 0.8]}},
        "replicates": {"initialisation": 4, "until": {"interval": 0.02, "max": 12}} | replicates,
    }
    return build_spec(plain)


def plan_of(spec):
    return make_plan(spec, lambda data: "fingerprint")


def record(sweep, trial, replicate, accuracy, status="finished"):
    folder = records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {"validation_accuracy": accuracy} if status == "finished" else {}
    (folder / records.RECORD).write_text(json.dumps({"format": 1, "status": status, "metrics": metrics}))


def train(sweep, plan, spread, status="finished"):
    """Record every replicate; `spread` of the accuracy by trial id."""
    for trial in plan:
        for replicate in trial.replicates:
            luck = np.random.default_rng(replicate.seeds.initialisation).standard_normal()
            record(sweep, trial, replicate, 0.9 + spread[trial.trial_id] * luck, status)


def sizes(plan):
    return {t.trial_id: len({r.seeds.initialisation for r in t.replicates}) for t in plan}


def test_only_wide_trials_get_seeds_and_their_twins_with_them(tmp_path):
    plan = plan_of(spec_of())
    twin, calm, wide = plan.trials
    spread = {twin.trial_id: 0.0001, calm.trial_id: 0.0001, wide.trial_id: 0.05}
    assert sizes(extended(plan, tmp_path)) == dict.fromkeys(spread, 4)
    seen = []
    for _ in range(6):
        train(tmp_path, extended(plan, tmp_path), spread)
        seen.append(sizes(extended(plan, tmp_path)))
    assert [found[wide.trial_id] for found in seen[:3]] == [6, 9, 12]
    assert seen[-1] == {twin.trial_id: 12, calm.trial_id: 4, wide.trial_id: 12}
    again = extended(extended(plan, tmp_path), tmp_path)
    assert again == extended(plan, tmp_path)
    first = [r.replicate_id for r in plan.trials[2].replicates]
    assert [r.replicate_id for r in again.trials[2].replicates][:4] == first
    assert "4 to 12 seeds a trial" in line(again)
    assert "looks at 4, 6, 9, 12" in line(again)
    assert "2 of 3 trials have more than 4" in line(again)


@pytest.mark.parametrize("status", ["failed", "stopped", "diverged"])
def test_what_has_not_ended_or_has_no_value_is_given_no_more_seeds(tmp_path, status):
    plan = plan_of(spec_of())
    train(tmp_path, plan, dict.fromkeys(sizes(plan), 0.05), status)
    assert sizes(extended(plan, tmp_path)) == dict.fromkeys(sizes(plan), 4)


def test_a_diverged_replicate_leaves_the_others_to_be_looked_at(tmp_path):
    plan = plan_of(spec_of())
    train(tmp_path, plan, dict.fromkeys(sizes(plan), 0.05))
    record(tmp_path, plan.trials[1], plan.trials[1].replicates[0], None, "diverged")
    assert sizes(extended(plan, tmp_path))[plan.trials[1].trial_id] == 6


def test_crossed_sources_are_averaged_within_an_initialisation(tmp_path):
    plan = plan_of(spec_of(data_order=2))
    for trial in plan:
        for replicate in trial.replicates:
            record(tmp_path, trial, replicate, 0.9 + (0.05 if replicate.seeds.data_order else -0.05))
    assert sizes(extended(plan, tmp_path)) == dict.fromkeys(sizes(plan), 4)


def test_a_look_is_narrow_when_its_corrected_interval_is():
    values = np.random.default_rng(0).standard_normal(9)
    width = seeds_needed(values, width=1, looks=5).details["width"]
    assert look(values, float(width) * 1.0001, 5).is_narrow
    assert not look(values, float(width) * 0.9999, 5).is_narrow
    assert not look(values[:1], 100, 5).is_narrow
    assert look_level(0.95, 5) == pytest.approx(0.99)
    assert looks(5, 50) == [5, 8, 12, 18, 27, 41, 50]


@pytest.mark.parametrize(
    ("replicates", "words"),
    [
        ({"initialisation": [0, 1, 2]}, "needs initialisation to be a number of seeds"),
        ({"initialisation": 1}, "needs initialisation to be a number of seeds, 2 or more; got 1"),
        ({"initialisation": 20}, "max is 12, less than the 20 initialisation seeds"),
        ({"until": {"interval": 0, "max": 5}}, "interval"),
        ({"until": {"interval": 0.1}}, "max"),
    ],
)
def test_what_can_not_grow_is_refused(replicates, words):
    with pytest.raises(SpecError, match=words):
        spec_of(**replicates)


@pytest.mark.parametrize("distribution", ["normal", "lognormal(0.5)"])
@pytest.mark.parametrize("width", [0.8, 1.2, 2.0])
def test_the_interval_that_ends_the_looking_keeps_its_level(distribution, width):
    found = stopped(distribution, 5, 50, width, simulations=4000)
    assert found.corrected >= 0.95
    assert found.naive < found.corrected
    assert 0.87 <= found.ordinary < found.corrected


def test_the_seeds_of_a_trial_do_not_change_its_name():
    assert plan_of(spec_of()).trials[0].trial_id == plan_of(spec_of(until=None)).trials[0].trial_id
    assert plan_of(spec_of(until=None)).trials[0].replicates == plan_of(spec_of()).trials[0].replicates
