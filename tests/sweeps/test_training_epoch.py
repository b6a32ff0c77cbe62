"""A configuration is the same beside others and alone, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from rmt.errors import UnknownName
from sweeps.status import Status
from sweeps.training_epoch import Beside
from sweeps.training_state import State
from sweeps.trial_spec import TrialSpec
from tests.sweeps.small_trials import finish, training, trial, without_times
from tests.sweeps.test_training import FLOAT32_TOLERANCE, poison

REPLICATES = [3, 4]


def optimisers(kind: str, **options: float) -> list[dict[str, object]]:
    rates = (0.02, 0.05, 0.1) if kind == "sgd" else (0.001, 0.003, 0.01)
    return [{"kind": kind, **options, "lr": lr} for lr in rates]


def configurations(kind: str = "sgd", **options: float) -> list[TrialSpec]:
    """Three that differ in all that may differ: rates and schedules, penalties, clipping, start, pruning."""
    first, second, third = optimisers(kind, **options)
    return [
        trial(training__optimiser=first, training__schedule={"kind": "cosine"}),
        trial(training__optimiser=second, training__l1=0.0, training__l2=1e-3, prune__aggressiveness=0.5),
        trial(
            training__optimiser=third,
            training__clip_norm=0.5,
            initialisation={"kind": "orthogonal"},
            prune={"rule": "magnitude", "aggressiveness": 0.5, "start": 2},
        ),
    ]


class Together:
    """Trainings of several configurations beside each other."""

    def __init__(
        self,
        specs: list[TrialSpec],
        dtype: torch.dtype = torch.float64,
        *,
        states: Mapping[str, State] | None = None,
    ) -> None:
        from_ = states or {}
        self.trainings = {
            name: training(spec, REPLICATES, dtype, state=from_.get(name))
            for name, spec in zip("012", specs, strict=False)
        }
        self.beside = Beside(dict.fromkeys(self.trainings, len(REPLICATES)))
        for name, its in self.trainings.items():
            self.beside.enter(name, its)

    def run_epoch(self) -> dict[str, list[dict[str, float] | None]]:
        return {
            name: [None if row is None else without_times(row) for row in self.beside.run_epoch(name)]
            for name in self.beside.names
        }

    def finish(self) -> list[dict[str, list[dict[str, float] | None]]]:
        return [self.run_epoch() for _ in range(4)]

    def weights(self, name: str) -> list[dict[str, torch.Tensor]]:
        return [dict(self.trainings[name].outcome(place).weights) for place in range(len(REPLICATES))]


def assert_bit_equal(a: list[dict[str, torch.Tensor]], b: list[dict[str, torch.Tensor]]) -> None:
    for mine, its in zip(a, b, strict=True):
        assert mine.keys() == its.keys()
        assert all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("sgd", {"momentum": 0.9, "nesterov": True}), ("sgd", {"momentum": 0.0}), ("adam", {}), ("adamw", {})],
)
def test_a_configuration_beside_others_is_the_configuration_alone(kind: str, options: dict[str, float]) -> None:
    specs = configurations(kind, **options)
    together = Together(specs)
    history = together.finish()
    ranks = {
        tuple(sorted(r.items())) for its in together.trainings.values() for s, _ in its.stacks for r in s.ranks
    }
    assert len(ranks) > 2, "the case is only worth something if ranks differ"
    for name, spec in enumerate(specs):
        alone = training(spec, REPLICATES)
        for rows, solo in zip(history, finish(alone), strict=True):
            for mine, its in zip(rows[str(name)], solo, strict=True):
                assert mine == pytest.approx(its, rel=1e-8)
        for place in range(len(REPLICATES)):
            mine_out, its_out = together.trainings[str(name)].outcome(place), alone.outcome(place)
            assert (mine_out.test_correct == its_out.test_correct).all()
            for weight, value in mine_out.weights.items():
                torch.testing.assert_close(value, its_out.weights[weight], rtol=1e-5, atol=1e-10)


def test_a_configuration_beside_others_is_the_configuration_alone_in_single_precision() -> None:
    specs = configurations()
    history = Together(specs, torch.float32).finish()
    for name, spec in enumerate(specs):
        for rows, solo in zip(history, finish(training(spec, REPLICATES, torch.float32)), strict=True):
            for mine, its in zip(rows[str(name)], solo, strict=True):
                assert mine is not None
                assert its is not None
                assert mine["train_loss"] == pytest.approx(its["train_loss"], rel=FLOAT32_TOLERANCE)
                assert mine["learning_rate"] == its["learning_rate"]
                assert abs(mine["validation_accuracy"] - its["validation_accuracy"]) <= 1 / 300 + 1e-12


def test_the_same_places_are_bit_equal_whatever_the_rates_of_the_others() -> None:
    """Trials that are updated alike are updated at once, others apart: to the same bits."""
    plain = [
        trial(training__optimiser={"kind": "sgd", "lr": lr}, prune={"rule": "none"}) for lr in (0.02, 0.02, 0.05)
    ]
    alike, apart = Together([plain[0], plain[0]], torch.float32), Together([plain[1], plain[2]], torch.float32)
    assert [rows["0"] for rows in alike.finish()] == [rows["0"] for rows in apart.finish()]
    assert len(alike.beside.groups[0].alike) == 1
    assert len(apart.beside.groups[0].alike) == 2
    assert_bit_equal(alike.weights("0"), apart.weights("0"))


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_poisoned_replicate_leaves_the_other_trials_bit_equal(epoch: int) -> None:
    healthy, poisoned = Together(configurations(), torch.float32), Together(configurations(), torch.float32)
    for done in range(4):
        if done == epoch:
            poison(poisoned.trainings["1"], 0)
        ours, theirs = healthy.run_epoch(), poisoned.run_epoch()
        assert ours["0"] == theirs["0"]
        assert ours["2"] == theirs["2"]
        assert ours["1"][1] == theirs["1"][1]
        assert (theirs["1"][0] is None) == (done >= epoch)
    status, reason = poisoned.trainings["1"].ended(0) or (None, "")
    assert status is Status.DIVERGED
    assert reason == f"the loss is nan in epoch {epoch + 1}, step 1 of 10"
    for name in ("0", "2"):
        assert_bit_equal(healthy.weights(name), poisoned.weights(name))


def test_the_places_of_a_trial_that_has_ended_stay_empty_and_the_others_bit_equal() -> None:
    specs = [
        trial(prune={"rule": "none"}, training__optimiser={"kind": "sgd", "lr": lr}) for lr in (0.02, 0.05, 0.1)
    ]
    whole, left = Together(specs, torch.float32), Together(specs, torch.float32)
    for epoch in range(4):
        if epoch == 2:
            left.beside.leave("0")
        ours, theirs = whole.run_epoch(), left.run_epoch()
        assert all(ours[name] == rows for name, rows in theirs.items())
    assert left.beside.names == ["1", "2"]
    assert_bit_equal(whole.weights("2"), left.weights("2"))


def test_trainings_go_on_from_their_own_states_to_the_same_bits() -> None:
    """Each has a state of its own, of which nobody can tell that it was beside others."""
    undisturbed, first = (Together(configurations(), torch.float32) for _ in range(2))
    expected = undisturbed.finish()
    assert [first.run_epoch() for _ in range(2)] == expected[:2]
    states = {name: its.state() for name, its in first.trainings.items()}
    second = Together(configurations(), torch.float32, states=states)
    assert [second.run_epoch() for _ in range(2)] == expected[2:]
    alone = training(configurations()[1], REPLICATES, torch.float32, state=states["1"])
    assert alone.epoch == 2


def test_one_that_is_ahead_waits() -> None:
    specs = [trial(prune={"rule": "none"}) for _ in range(2)]
    together, expected = Together(specs), finish(training(specs[0], REPLICATES))
    ahead = together.trainings["1"]
    ahead.run_epoch()
    for epoch in range(2):
        found = [without_times(row) for row in together.beside.run_epoch("0") if row is not None]
        assert found == [pytest.approx(row, rel=1e-8) for row in expected[epoch]]
        assert ahead.epoch == max(1, epoch + 1)
    assert together.beside.run_epoch("1")[0] is not None


def test_what_one_raises_leaves_the_others() -> None:
    specs = [trial(prune={"rule": "none"}) for _ in range(2)]
    together, expected = Together(specs), Together(specs)
    first = expected.run_epoch()
    together.trainings["1"].spec.measures.at_epochs.update({1: ["no such measure"]})
    assert together.beside.run_epoch("0")[0] is not None
    with pytest.raises(UnknownName):
        together.beside.run_epoch("1")
    assert first["0"][0] is not None
