from dataclasses import replace
from typing import Any

import pytest

from sweeps import records
from sweeps.planning import Plan, make_plan
from sweeps.price import price
from sweeps.spec import build_spec

SPEC: dict[str, Any] = {
    "name": "p",
    "trial": {
        "data": {"kind": "synthetic", "train_examples": 100, "validation": 20},
        "model": {"kind": "mlp", "widths": [16]},
        "training": {"epochs": 4, "batch_size": 10},
        "prune": {"every": 2},
    },
    "space": {"training.optimiser.lr": {"grid": [0.01, 0.1, 1.0]}},
    "replicates": {"initialisation": 2},
    "resources": {"cpus": 10_000},
}


def made():
    return make_plan(build_spec(SPEC), lambda data: "fingerprint of these data")


def finish(sweep, trial, seconds, **more):
    for replicate in trial.replicates:
        folder = records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id)
        records.Recorder(folder).finish({"status": "finished", "reason": "", "wall_seconds": seconds, **more}, {})


def test_nothing_recorded_gives_memory_and_no_time(tmp_path):
    found = price(made(), made().progress(tmp_path), tmp_path)
    assert found.trials == 6
    assert found.seconds is None
    # Two replicates of 64·16 + 16 + 16·10 + 10 parameters as weights, gradients and momentum, in single precision.
    assert found.memory_bytes > 2 * 3 * 1210 * 4
    assert "time unknown" in found.line()


def test_time_follows_from_recorded_trials_of_the_same_shape(tmp_path):
    twins = [trial for trial in made() if trial.role == "twin"]
    pruned = [trial for trial in made() if trial.role == "pruned"]
    finish(tmp_path, twins[0], 10.0)
    finish(tmp_path, twins[1], 30.0)
    assert price(made(), made().progress(tmp_path), tmp_path).seconds is None
    finish(tmp_path, pruned[0], 50.0)
    found = price(made(), made().progress(tmp_path), tmp_path)
    assert found.seconds == pytest.approx(
        20.0 + 2 * 50.0
    )  # one twin at the median, two pruned trials, one at a time
    assert (found.slots, found.records) == (1, 3)
    assert "about 2 min 0 s of training on 1 trials at once (from 3 recorded trials)" in found.line()


def test_measures_are_in_the_price_where_they_are_recorded(tmp_path):
    def plan(measures: list[str]) -> Plan:
        trial = {**SPEC["trial"], "prune": {"rule": "none"}, "measures": {"end": measures}}
        return make_plan(build_spec({**SPEC, "trial": trial}), lambda data: "fingerprint of these data")

    without, wanted = plan([]), plan(["hessian_top"])
    finish(tmp_path, without.trials[0], 10.0)
    both = replace(wanted, trials=(without.trials[0], *wanted.trials))
    found = price(both, both.progress(tmp_path), tmp_path)
    assert found.seconds == pytest.approx(3 * 10.0)
    assert "the measures of 3 trials come on top" in found.line()
    finish(tmp_path, wanted.trials[0], 16.0, measure_seconds=3.0)  # of each of two replicates
    found = price(both, both.progress(tmp_path), tmp_path)
    assert found.seconds == pytest.approx(2 * (10.0 + 6.0))
    assert found.measures_unknown == 0


def test_a_finished_plan_costs_nothing(tmp_path):
    for trial in made():
        finish(tmp_path, trial, 1.0)
    assert price(made(), made().progress(tmp_path), tmp_path).line() == "nothing to train"
