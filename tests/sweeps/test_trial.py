import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load as load_weights

from rmt.measures import MEASURES, ModuleSubject
from sweeps import records, run_trial
from sweeps.assembly import build_trial
from sweeps.data import load
from sweeps.origin import arrays_in
from sweeps.planning import plan_trial
from sweeps.seeds import Seeds
from sweeps.status import Status
from sweeps.trial import TrialRun

SPEC: dict[str, Any] = {
    "data": {"kind": "digits", "validation": 300, "train_size": 400},
    "model": {"kind": "mlp", "widths": [64, 64]},
    "training": {"epochs": 4, "batch_size": 50, "optimiser": {"kind": "sgd", "lr": 0.05}},
    "prune": {"rule": "mp_threshold", "aggressiveness": 0.8, "every": 2},
}


SEEDS = [Seeds(0), Seeds(1)]


def trial(**changes):
    return build_trial({**SPEC, **changes})


def planned(spec, seeds=SEEDS):
    return plan_trial(spec, {}, load(spec.data).fingerprint, seeds)


def train(spec, tmp_path, *, seeds=SEEDS, epochs=None, wanted=None, dataset=None):
    """Train with records under `tmp_path/sweep`, to the end or for some epochs."""
    plan = planned(spec, seeds)
    run = TrialRun(plan, wanted or plan.replicates, dataset or load(spec.data), sweep=tmp_path / "sweep")
    while (epochs is None or run.epoch < epochs) and run.step() is not None:
        pass
    return run, plan


def folder(tmp_path, plan, number=0):
    return records.replicate_folder(tmp_path / "sweep", plan.trial_id, plan.replicates[number].replicate_id)


def histories(tmp_path, plan):
    return [
        [{k: v for k, v in row.items() if k != "time" and not k.endswith("_seconds")} for row in rows]
        for rows in (records.read_history(folder(tmp_path, plan, i)) for i in range(len(plan.replicates)))
    ]


def test_a_trial_runs_in_a_plain_session_without_ray_or_mlflow():
    reports: list[Mapping[str, Any]] = []
    result = run_trial(trial(), reports.append, seeds=2)
    assert [row["epoch"] for row in reports] == [1, 2, 3, 4]
    assert reports[-1]["validation_accuracy.mean"] > 0.7
    assert [r.status for r in result.replicates] == [Status.FINISHED] * 2
    assert result.replicates[0].metrics["test_accuracy"] > 0.7
    assert result.replicates[0].metrics["parameters_kept"] < 1


def test_a_finished_replicate_has_every_file_of_its_record(tmp_path):
    _, plan = train(trial(), tmp_path)
    for number in range(2):
        place = folder(tmp_path, plan, number)
        record = records.read_record(place)
        assert record is not None
        assert record["status"] == "finished"
        assert record["epochs"] == 4
        assert record["seeds"]["initialisation"] == number
        assert record["config"]["prune"]["aggressiveness"] == 0.8
        assert record["environment"]["versions"]["torch"]
        assert set(record["files"]) == {"history.jsonl", "spectra.npz", "test_correct.bin", "weights.safetensors"}
        assert records.damaged(place, record) == []


def test_the_bits_say_which_test_examples_were_right(tmp_path):
    _, plan = train(trial(), tmp_path)
    record = records.read_record(folder(tmp_path, plan))
    assert record is not None
    packed = np.frombuffer((folder(tmp_path, plan) / "test_correct.bin").read_bytes(), dtype=np.uint8)
    examples = len(load(trial().data).test_labels)
    correct = np.unpackbits(packed, count=examples)
    assert correct.mean() == pytest.approx(record["metrics"]["test_accuracy"], abs=1e-12)


def test_spectra_are_kept_from_the_start_to_the_end(tmp_path):
    _, plan = train(trial(), tmp_path)
    arrays = arrays_in((folder(tmp_path, plan) / "spectra.npz").read_bytes())
    fits = json.loads(str(arrays["fits"]))
    layers = {row["layer"] for row in fits}
    assert {row["epoch"] for row in fits} == {0, 2, 4}
    for layer in layers:
        values = arrays[f"{layer}/0/singular_values"]
        assert (np.diff(values) <= 0).all()
    cut = [row for row in fits if row["epoch"] == 2 and row["status"] == "cut"]
    assert cut
    assert all(row["rank"] < row["rank_before"] for row in cut)


def test_weights_are_what_the_record_counts(tmp_path):
    _, plan = train(trial(), tmp_path)
    record = records.read_record(folder(tmp_path, plan))
    assert record is not None
    weights = load_weights((folder(tmp_path, plan) / "weights.safetensors").read_bytes())
    assert sum(w.numel() for w in weights.values()) == record["metrics"]["parameters"]
    assert any(name.endswith(".left") for name in weights)


def test_measures_are_taken_of_the_network_of_each_layer_and_of_the_last_cut(tmp_path):
    spec = trial(measures={"end": ["spectra", "certify", "stable_rank", "macs"]})
    _, plan = train(spec, tmp_path)
    record = records.read_record(folder(tmp_path, plan))
    assert record is not None
    assert 0 < record["measures"]["macs"] < 64 * 64 * 2 + 64 * 10
    changed = [value for name, value in record["measures"].items() if "certified_but_changed" in name]
    assert changed
    assert not any(changed)
    layers = {row["name"]: row for row in record["layers"]}
    weights = load_weights((folder(tmp_path, plan) / "weights.safetensors").read_bytes())
    head = weights["head.weight"].double()
    assert layers["head"]["stable_rank"] == pytest.approx(float((head**2).sum() / head.svd()[1][0] ** 2))


def test_a_diverged_replicate_says_when_and_the_trial_goes_on(tmp_path):
    spec = trial(
        training={"epochs": 3, "batch_size": 50, "optimiser": {"kind": "sgd", "lr": 1e30}}, prune={"rule": "none"}
    )
    run, plan = train(spec, tmp_path)
    assert {r.status for r in run.result.replicates} == {Status.DIVERGED}
    record = records.read_record(folder(tmp_path, plan))
    assert record is not None
    assert "epoch 1, step" in record["reason"]
    assert "test_accuracy" not in record["metrics"]


def test_an_exception_is_recorded_with_its_traceback(tmp_path):
    too_small = load(build_trial({"data": {"kind": "synthetic", "train_examples": 100}}).data)
    run, plan = train(trial(), tmp_path, dataset=too_small)
    record = records.read_record(folder(tmp_path, plan))
    assert record is not None
    assert record["status"] == "failed"
    assert record["traceback"].startswith("Traceback")
    assert "SpecError: data.validation: 300 can not be held out" in record["reason"]
    assert {r.status for r in run.result.replicates} == {Status.FAILED}


@pytest.fixture
def exploding():
    """A measure that raises, as a plugin of a user's may; gone again after the test."""

    def explodes(subject: ModuleSubject) -> float:
        raise RuntimeError("out of luck")

    MEASURES.register("explodes", of="module", needs=())(explodes)
    yield "explodes"
    del MEASURES._entries["explodes"]


def test_what_fails_at_the_end_of_training_is_recorded_too(tmp_path, exploding):
    _, plan = train(trial(measures={"end": [exploding]}), tmp_path)
    record = records.read_record(folder(tmp_path, plan))
    assert record is not None
    assert (record["status"], record["reason"]) == ("failed", "RuntimeError: out of luck")
    assert "out of luck" in record["traceback"]


def test_a_stack_cut_short_trains_whole_again_and_to_the_same_numbers(tmp_path):
    _, plan = train(trial(), tmp_path / "undisturbed")
    train(trial(), tmp_path / "cut", epochs=3)
    train(trial(), tmp_path / "cut")
    assert histories(tmp_path / "cut", plan) == histories(tmp_path / "undisturbed", plan)
    again = records.read_record(folder(tmp_path / "cut", plan))
    assert again is not None
    assert "retrained_epochs_differing" not in again


def test_a_lost_record_is_made_again_by_its_whole_stack_and_the_others_stay(tmp_path):
    _, plan = train(trial(), tmp_path)
    before = (folder(tmp_path, plan, 0) / "record.json").read_bytes()
    lost = json.loads((folder(tmp_path, plan, 1) / "record.json").read_text())
    (folder(tmp_path, plan, 1) / "record.json").unlink()
    run, _ = train(trial(), tmp_path, wanted=plan.replicates[1:])
    assert [r.replicate.replicate_id for r in run.result.replicates] == [plan.replicates[1].replicate_id]
    assert (folder(tmp_path, plan, 0) / "record.json").read_bytes() == before
    made = json.loads((folder(tmp_path, plan, 1) / "record.json").read_text())
    assert made["files"]["weights.safetensors"] == lost["files"]["weights.safetensors"]
    assert made["metrics"]["test_accuracy"] == lost["metrics"]["test_accuracy"]


def test_added_seeds_do_not_change_those_there_were(tmp_path):
    _, plan = train(trial(), tmp_path)
    before = histories(tmp_path, plan)
    more = planned(trial(), [*SEEDS, Seeds(2)])
    train(trial(), tmp_path, seeds=[*SEEDS, Seeds(2)], wanted=more.replicates[2:])
    assert histories(tmp_path, plan) == before
    assert (folder(tmp_path, more, 2) / "record.json").exists()


def test_stopping_records_what_there_is(tmp_path):
    run, plan = train(trial(), tmp_path, epochs=2)
    run.stop("enough")
    record = records.read_record(folder(tmp_path, plan))
    assert record is not None
    assert (record["status"], record["reason"], record["epochs"]) == ("stopped", "enough", 2)


def test_the_first_epoch_of_a_pruned_trial_is_its_twins(tmp_path):
    _, plan = train(trial(), tmp_path)
    _, twin = train(trial().twin, tmp_path)
    keys = ("train_loss", "validation_accuracy", "weight_norm")
    for pruned, unpruned in zip(histories(tmp_path, plan), histories(tmp_path, twin), strict=True):
        assert [[row[k] for k in keys] for row in pruned[:2]] == [[row[k] for k in keys] for row in unpruned[:2]]
        assert pruned[2]["train_loss"] != unpruned[2]["train_loss"]
