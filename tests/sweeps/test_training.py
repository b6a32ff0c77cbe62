"""A replicate is the same in a stack and alone, whatever becomes of the others; and it learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sweeps.data import Dataset
from sweeps.errors import SpecError
from sweeps.metrics import HISTORY
from sweeps.seeds import Seeds
from sweeps.status import Status
from sweeps.training import StackTraining
from sweeps.trial_spec import TrialSpec
from tests.sweeps.small_trials import digits, finish, seeds, training, trial

FLOAT32_TOLERANCE = 2e-3
"""Between stack and solo in single precision: rounding of 1e-7 grows over 40 steps, but no accuracy may flip by
more than one example of 300."""


def poison(run: StackTraining, member: int) -> None:
    """One weight of one replicate becomes NaN, as an exploding step leaves it."""
    for stack in run._stacks:
        if member in stack.members:
            next(iter(stack.values.values()))[stack.members.index(member)].view(-1)[0] = math.nan


def test_a_replicate_in_a_stack_is_the_replicate_alone() -> None:
    spec = trial()
    together = training(spec, [3, 4, 5])
    history = finish(together)
    ranks = {tuple(sorted(r.items())) for stack in together._stacks for r in stack.ranks}
    assert len(ranks) == 3, "the case is only worth something if ranks differ"
    for place, number in enumerate([3, 4, 5]):
        alone = training(spec, [number])
        for rows, solo in zip(history, finish(alone), strict=True):
            assert rows[place] == pytest.approx(solo[0], rel=1e-8)
        mine, its = together.outcome(place), alone.outcome(0)
        assert [row["rank"] for row in mine.layers] == [row["rank"] for row in its.layers]
        assert np.array_equal(mine.test_correct, its.test_correct)
        for name, weight in mine.weights.items():
            torch.testing.assert_close(weight, its.weights[name], rtol=1e-5, atol=1e-10)


def test_a_replicate_in_a_stack_is_the_replicate_alone_in_single_precision() -> None:
    spec = trial()
    history = finish(training(spec, [3, 4, 5], torch.float32))
    for place, number in enumerate([3, 4, 5]):
        alone = finish(training(spec, [number], torch.float32))
        for rows, solo in zip(history, alone, strict=True):
            row, its = rows[place], solo[0]
            assert row is not None
            assert its is not None
            assert row["train_loss"] == pytest.approx(its["train_loss"], rel=FLOAT32_TOLERANCE)
            assert row["parameters_kept"] == its["parameters_kept"]
            assert abs(row["validation_accuracy"] - its["validation_accuracy"]) <= 1 / 300 + 1e-12


def test_the_same_layout_is_bit_equal_from_run_to_run() -> None:
    first, second = training(trial(), [0, 1, 2], torch.float32), training(trial(), [0, 1, 2], torch.float32)
    assert finish(first) == finish(second)
    for r in range(3):
        for name, weight in first.outcome(r).weights.items():
            assert torch.equal(weight, second.outcome(r).weights[name])


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_poisoned_replicate_leaves_the_others_bit_equal(epoch: int, dtype: torch.dtype) -> None:
    healthy, poisoned = training(trial(), [0, 1, 2], dtype), training(trial(), [0, 1, 2], dtype)
    for done in range(4):
        if done == epoch:
            poison(poisoned, 1)
        rows, others = healthy.run_epoch(), poisoned.run_epoch()
        for r in (0, 2):
            a, b = rows[r], others[r]
            assert a is not None
            assert b is not None
            assert {k: v for k, v in a.items() if "_seconds" not in k} == {
                k: v for k, v in b.items() if "_seconds" not in k
            }
        assert (others[1] is None) == (done >= epoch)
    status, reason = poisoned.ended(1) or (None, "")
    assert status is Status.DIVERGED
    assert reason == f"the loss is nan in epoch {epoch + 1}, step 1 of 10"
    assert poisoned.ended(0) is None
    for r in (0, 2):
        for name, weight in healthy.outcome(r).weights.items():
            assert torch.equal(weight, poisoned.outcome(r).weights[name])
    assert poisoned.outcome(1).weights == {}
    assert len(poisoned.outcome(1).test_correct) == 0


def test_padding_stays_exactly_zero() -> None:
    run = training(trial(), [0, 1, 2, 3])
    seen = 0
    while run.epoch < 4:
        run.run_epoch()
        for stack in run._stacks:
            for name in stack.values:
                for part in stack.padding(name):
                    seen += part.numel()
                    assert torch.count_nonzero(part) == 0
    assert seen > 0


def test_a_rate_that_explodes_is_a_divergence_with_its_step() -> None:
    run = training(trial(training__optimiser={"kind": "sgd", "lr": 1e6}), [0, 1], torch.float32)
    assert run.run_epoch() == [None, None]
    for r in range(2):
        status, reason = run.ended(r) or (None, "")
        assert status is Status.DIVERGED
        assert "in epoch 1, step " in reason
    assert run.run_epoch() == [None, None]


def test_it_learns() -> None:
    spec = trial(
        data={"kind": "digits", "validation": 300},
        training={"epochs": 15, "batch_size": 32, "l1": 1e-5, "l2": 1e-5},
        prune={"rule": "none"},
    )
    rows = finish(training(spec, [0, 1, 2], torch.float32))[-1]
    assert all(row is not None and row["validation_accuracy"] > 0.93 for row in rows)


def test_a_pruned_training_is_its_twin_up_to_the_first_pruning() -> None:
    pruned, twin = trial(prune__every=2), trial(prune={"rule": "none"})
    a, b = finish(training(pruned, [0, 1])), finish(training(twin, [0, 1]))
    assert a[:2] == b[:2]
    assert a[2] != b[2]
    last = [row["parameters_kept"] for row in a[-1] if row is not None]
    assert max(last) < 0.8
    assert all(row is not None and row["parameters_kept"] == 1.0 for row in b[-1])


def test_the_outcome_says_what_the_training_did() -> None:
    run = training(trial(), [0, 1], torch.float32)
    rows = finish(run)[-1]
    outcome, row = run.outcome(1), rows[1]
    assert row is not None
    assert outcome.metrics["test_accuracy"] == outcome.test_correct.mean()
    assert outcome.metrics["test_examples"] == len(outcome.test_correct) == len(digits().test_labels)
    total = 64 * 96 + 96 + 96 * 64 + 64 + 64 * 10 + 10
    assert outcome.metrics["parameters"] == pytest.approx(row["parameters_kept"] * total)
    for layer in outcome.layers:
        name, rank, shape = layer["name"], layer["rank"], (layer["rows"], layer["cols"])
        if layer["factored"]:
            left, right = outcome.weights[f"{name}.left"], outcome.weights[f"{name}.right"]
            assert (left.shape, right.shape) == ((shape[0], rank), (rank, shape[1]))
            assert layer["parameters"] == left.numel() + right.numel()
        else:
            assert outcome.weights[f"{name}.weight"].shape == shape
    assert any(layer["factored"] for layer in outcome.layers)
    keys = {f"{layer['name']}/{epoch}/singular_values" for layer in outcome.layers for epoch in range(5)}
    assert set(outcome.spectra) == keys
    for values in outcome.spectra.values():
        assert values.dtype == np.float64
        assert (np.diff(values) <= 0).all()


def test_replicates_of_one_stack_share_order_and_split() -> None:
    with pytest.raises(ValueError, match="share data order and split"):
        StackTraining(trial(), [Seeds(0), Seeds(1, data_order=1)], digits(), threads=1)


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(SpecError, match=r"training\.batch_size: 321 is more than the 320 training examples"):
        training(trial(training={"batch_size": 321}, prune={"rule": "none"}), [0])


def test_measures_at_epochs_are_those_of_a_training_that_ends_there() -> None:
    """The rate is constant, so the first epochs of a longer training are a shorter one."""
    at_epochs = {0: ["hessian_top"], 2: ["spectra", "certify", "stable_rank", "hessian_top"]}
    run = training(trial(measures={"end": [], "at_epochs": at_epochs}, prune__every=2), [0, 1], torch.float32)
    finish(run)
    short = trial(measures={"end": at_epochs[2]}, training__epochs=2, prune={"rule": "none"})
    ended = training(short, [0, 1], torch.float32)
    finish(ended)
    for r in range(2):
        start, early = run.outcome(r).measures_at
        assert (start["epoch"], early["epoch"]) == (0, 2)
        assert list(start["network"]) == ["hessian_top.1"]
        assert early["network"] == ended.outcome(r).measures, "of the network before the cut that is due"
        rows = {row["name"]: row["stable_rank"] for row in ended.outcome(r).layers}
        assert {name: one["stable_rank"] for name, one in early["layers"].items()} == rows
        assert 0 < start["seconds"] + early["seconds"] == pytest.approx(run.outcome(r).measure_seconds)


def test_measures_that_compare_with_a_cut_wait_for_one() -> None:
    asked = {"at_epochs": {1: ["certify"], 2: ["certify"]}}
    run = training(trial(measures=asked), [0], torch.float32)
    finish(run)
    before, after = run.outcome(0).measures_at
    assert before["network"] == {}
    assert any(name.startswith("certify.") for name in after["network"])


def test_measuring_on_the_way_changes_nothing_and_survives_a_state() -> None:
    asked = trial(measures={"at_epochs": {1: ["hessian_trace", "spectra"], 2: ["certify"]}})
    plain, measured = (training(s, [0, 1], torch.float32) for s in (trial(), asked))
    for _ in range(2):
        measured.run_epoch()
    continued = training(asked, [0, 1], torch.float32, state=measured.state())
    assert finish(plain)[2:] == finish(continued)
    assert [one["epoch"] for one in continued.outcome(1).measures_at] == [1, 2]
    assert continued.outcome(1).measures_at == measured.outcome(1).measures_at
    assert {row["epoch"] for row in continued.outcome(1).fits if row["status"] == "measured"} == {0, 1, 4}


def test_every_epoch_says_what_there_is_to_know_of_it() -> None:
    run = training(trial(), [0, 1], torch.float32)
    while run.epoch < 4:
        rows = run.run_epoch()
        assert all(row is not None and set(row) == set(HISTORY) for row in rows)
    asked = run.outcome(0)
    assert rows[0] is not None
    assert rows[0]["non_zeros"] == sum(int(torch.count_nonzero(weight)) for weight in asked.weights.values())
    assert rows[0]["non_zeros"] <= asked.metrics["parameters"]


def test_masked_weights_stay_zero() -> None:
    spec = trial(prune={"rule": "magnitude", "aggressiveness": 0.7, "every": 1})
    run = training(spec, [0, 1], torch.float32)
    rows = finish(run)
    outcome = run.outcome(0)
    assert rows[-1][0] is not None
    assert rows[-1][0]["non_zeros"] <= outcome.metrics["parameters"]
    weight = outcome.weights["linear2.weight"]
    row = next(layer for layer in outcome.layers if layer["name"] == "linear2")
    assert row["parameters"] == torch.count_nonzero(weight) < 0.75 * weight.numel()


def test_the_twin_of_a_default_trial_runs() -> None:
    spec = TrialSpec.model_validate({"training": {"epochs": 1}, "prune": {"rule": "none"}})
    rows = StackTraining(spec, [Seeds(0)], digits(), threads=1).run_epoch()
    assert rows[0] is not None
    assert rows[0]["validation_accuracy"] > 0.3


def test_trainings_of_one_split_share_their_examples() -> None:
    first, second, other = (
        StackTraining(trial(), [Seeds(0, order, split)], digits(), threads=1)
        for order, split in [(0, 0), (1, 0), (0, 1)]
    )
    assert first._data.train is second._data.train
    assert first._data.train is not other._data.train


def test_an_override_without_options_keeps_those_of_the_rule() -> None:
    layers = [{"match": "head", "rule": "none"}, {"match": "linear1", "aggressiveness": 0.5}]
    prune = {"rule": "rank", "options": {"rank": 7}, "every": 1, "layers": layers}
    run = training(trial(prune=prune, training__epochs=2), [0], torch.float32)
    finish(run)
    ranks = {layer["name"]: layer["rank"] for layer in run.outcome(0).layers}
    assert ranks == {"linear1": 7, "linear2": 7, "head": 10}


def test_a_replicate_whose_running_statistics_are_not_finite_has_diverged() -> None:
    """Weights and losses of a training do not show it: they use the statistics of their batch."""
    generator = np.random.default_rng(0)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        return generator.standard_normal((count, 3, 8, 8), dtype=np.float32), np.arange(count) % 3

    data = Dataset("noise", *part(20), *part(6), classes=3)
    plain = {
        "data": {"kind": "synthetic", "validation": 6},
        "model": {"kind": "resnet18", "width": 4, "normalisation": "batch"},
        "training": {"epochs": 1, "batch_size": 7},
        "prune": {"rule": "none"},
    }
    run = StackTraining(TrialSpec.model_validate(plain), seeds(0, 1), data, threads=1)
    name = next(name for name in run._stacks[1].buffers if name.endswith("running_var"))
    run._stacks[1].buffers[name][0, 0] = math.inf
    rows = run.run_epoch()
    assert rows[0] is not None
    assert rows[1] is None
    assert run.ended(1) == (Status.DIVERGED, "a running statistic is not finite in epoch 1, step 2 of 2")
