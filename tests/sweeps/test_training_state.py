"""A training that continues from a state ends with the same bits as an undisturbed one."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load, save

from sweeps.measuring import compares_cuts, known
from sweeps.training import StackTraining, State
from tests.sweeps.small_trials import finish, training, trial, without_times


def through_files(state: State) -> State:
    """As a checkpoint holds it: safetensors and JSON."""
    return State(load(save(state.tensors)), json.loads(json.dumps(state.document)))


def assert_same_end(first: StackTraining, second: StackTraining) -> None:
    for r in range(len(first.seeds)):
        a, b = first.outcome(r), second.outcome(r)
        assert a.metrics == b.metrics
        assert a.layers == b.layers
        assert a.fits == b.fits
        assert a.spectra.keys() == b.spectra.keys()
        assert a.weights.keys() == b.weights.keys()
        for name, weight in a.weights.items():
            assert torch.equal(weight, b.weights[name])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("at", [1, 3])
def test_a_continued_training_ends_with_the_same_bits(kind: str, at: int) -> None:
    spec = trial(training__optimiser={"kind": kind, "lr": 0.003})
    whole, interrupted = (training(spec, [0, 1, 2], torch.float32) for _ in range(2))
    rows = finish(whole)
    for _ in range(at):
        interrupted.run_epoch()
    continued = training(spec, [0, 1, 2], torch.float32, state=through_files(interrupted.state()))
    assert continued.epoch == at
    assert finish(continued) == rows[at:]
    assert_same_end(whole, continued)


def test_a_state_is_a_copy() -> None:
    run = training(trial(), [0, 1], torch.float32)
    state = run.state()
    kept = {name: tensor.clone() for name, tensor in state.tensors.items()}
    run.run_epoch()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in state.tensors.items())
    other = training(trial(), [0, 1], torch.float32, state=state)
    other.run_epoch()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in state.tensors.items())


def test_a_diverged_replicate_stays_so() -> None:
    run = training(trial(), [0, 1, 2], torch.float32)
    run.run_epoch()
    run._stacks[0].values["head.bias"][1] = math.nan
    run.run_epoch()
    continued = training(trial(), [0, 1, 2], torch.float32, state=through_files(run.state()))
    assert continued.ended(1) == run.ended(1) is not None
    assert finish(continued) == finish(run)


def test_a_pruned_sibling_starts_from_its_twin() -> None:
    spec = trial(prune__every=2)
    scratch, twin = (training(s, [0, 1], torch.float32) for s in (spec, spec.twin))
    rows = finish(scratch)
    shared = [[without_times(row) for row in twin.run_epoch() if row is not None] for _ in range(2)]
    assert shared == rows[:2]
    fork = training(spec, [0, 1], torch.float32, state=through_files(twin.state()))
    assert finish(fork) == rows[2:]
    assert_same_end(scratch, fork)


def test_measures_of_the_last_cut_survive() -> None:
    names = sorted(name for name in known() if name != "spectra" and compares_cuts([name]))
    spec = trial(measures={"end": names[:2]})
    whole = training(spec, [0], torch.float32)
    finish(whole)
    fresh = training(spec, [0], torch.float32, state=through_files(whole.state()))
    first, second = whole.outcome(0), fresh.outcome(0)
    assert first.measures == second.measures
    assert first.layers == second.layers
    assert first.measures


def test_a_state_of_other_replicates_is_refused() -> None:
    with pytest.raises(ValueError, match="the state is of the replicates"):
        training(trial(), [0, 2], state=training(trial(), [0, 1]).state())
