from dataclasses import replace
from typing import Any

import pytest

from sweeps import records
from sweeps.errors import SpecError
from sweeps.forks import plan_forks
from sweeps.planning import Plan, make_plan
from sweeps.price import Price, price, slots_of
from sweeps.price_quote import quote
from sweeps.progress import duration
from sweeps.spec import build_spec
from sweeps.spec_means import Resources

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
        record = {"status": "finished", "reason": "", "epochs": 4, "wall_seconds": seconds, **more}
        records.Recorder(folder).finish(record, {})


def interval_of(found: Price) -> tuple[float, float]:
    assert found.interval is not None
    assert found.seconds is not None
    low, high = found.interval
    assert low < found.seconds < high
    return low, high


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
    assert "about 2 min 0 s of training on 1 trial at once (from 3 recorded trials; no interval" in found.line()
    finish(tmp_path, pruned[1], 54.0)
    found = price(made(), made().progress(tmp_path), tmp_path)
    low, high = interval_of(found)
    assert f"95% between {duration(low)} and {duration(high)} (from 4 recorded trials; prediction" in found.line()


def test_trials_that_start_from_a_sibling_have_less_to_train(tmp_path):
    twins = [trial for trial in made() if trial.role == "twin"]
    pruned = [trial for trial in made() if trial.role == "pruned"]
    finish(tmp_path, twins[0], 10.0)
    finish(tmp_path, pruned[0], 10.0, forked_from={"trial_id": twins[0].trial_id, "epoch": 2})
    progress = made().progress(tmp_path)
    forks = plan_forks(made(), progress, tmp_path, made().spec.resources)
    assert set(forks.starts.values()) == {2}
    found = price(made(), progress, tmp_path, forks=forks)
    assert found.seconds == pytest.approx(2 * 10.0 + 2 * 10.0)  # two twins, two epochs each of two pruned trials
    assert price(made(), progress, tmp_path).seconds == pytest.approx(2 * 10.0 + 2 * 20.0)


def test_a_plan_is_as_long_as_its_fullest_slot(tmp_path):
    for trial in made():
        if trial.trial_id in (made().trials[0].trial_id, made().trials[-1].trial_id):
            finish(tmp_path, trial, 10.0)
    progress = made().progress(tmp_path)
    assert [price(made(), progress, tmp_path, slots=n).seconds for n in (1, 2, 3, 100)] == [40, 20, 20, 10]


def test_given_resources_have_to_hold_a_trial():
    resources = Resources(cpus=2)
    assert slots_of(resources, cpus=9, gpus=None) == 4
    assert slots_of(Resources(cpus=1, gpus=0.5), cpus=64, gpus=3) == 6
    with pytest.raises(SpecError, match="a trial wants 2 CPUs and 0 GPUs; 1 CPUs"):
        slots_of(resources, cpus=1, gpus=None)


def test_a_pilot_tells_the_pace_of_shapes_that_are_not_recorded(tmp_path):
    planned = make_plan(build_spec({**SPEC, "resources": {"cpus": 1}}), lambda data: "fingerprint of these data")
    finish(tmp_path, planned.trials[0], 10.0)
    found = quote(planned, planned.progress(tmp_path), tmp_path, cpus=1, with_pilot=True)
    [pilot] = found.pilots  # of the pruned trials: a twin is recorded
    assert (pilot.replicates, pilot.pruned, len(pilot.epoch_seconds)) == (2, True, 4)
    assert found.price.seconds is not None
    assert found.price.seconds > 0
    assert not list(tmp_path.glob("**/weights.safetensors"))
    assert "no interval" in found.price.method  # the twin is one
    without = quote(planned, planned.progress(tmp_path / "new"), tmp_path / "new", cpus=1, with_pilot=True)
    assert len(without.pilots) == 2
    assert interval_of(without.price)[0] >= 0
    assert without.document()["price"]["method"].startswith("prediction interval from the scatter of a pilot")


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
