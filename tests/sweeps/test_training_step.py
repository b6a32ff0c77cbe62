"""Penalties, clipping and schedules of a step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import rmt
from rmt.matrices import Weight
from rmt.module_layers import Place, places_of
from sweeps import models
from sweeps.models import ARCHITECTURES
from sweeps.optimisers import OPTIMISERS, SCHEDULES
from sweeps.stack import Replica, Stack, regroup
from sweeps.stack_modules import Modules
from sweeps.stack_programs import program_for
from sweeps.training_data import Examples
from sweeps.training_evaluation import evaluate
from sweeps.training_pruning import apply_cut
from sweeps.training_step import Stepper, deterministic, norms, penalise, penalties
from sweeps.trial_spec import Model, Training
from tests.sweeps.small_trials import finish, training, trial


def test_the_penalty_is_the_papers() -> None:
    value = torch.randn(3, 5, 4, dtype=torch.float64).requires_grad_()
    l1, l2 = 0.3, 0.2
    wanted = l1 * value.abs().sum() + l2 * value.pow(2).sum()
    (its,) = torch.autograd.grad(wanted, value)
    gradient = torch.zeros_like(its)
    penalise(gradient, value.detach(), l1, l2)
    torch.testing.assert_close(gradient, its)
    assert float(penalties({"a": value.detach()}, l1, l2).sum()) == pytest.approx(float(wanted.detach()))


def test_biases_are_penalised_too() -> None:
    run = training(trial(prune={"rule": "none"}, training__l2=0.5, training__l1=0.0), [0, 1])
    row = run.run_epoch()[0]
    assert row is not None
    whole = sum(float(value.square().sum()) for value in run._stacks[0].take(0).values.values())
    assert row["train_penalty"] == pytest.approx(0.5 * whole)
    assert row["weight_norm"] == pytest.approx(math.sqrt(whole))


def test_clipping_is_each_replicates_own() -> None:
    limit = 0.05
    run = training(trial(training__clip_norm=limit, training__optimiser={"kind": "sgd", "momentum": 0.0}), [0, 1])
    stack, program = run._stacks[0], run._programs[0]
    batch = next(run._data.batches(1))
    before = {name: value.clone() for name, value in stack.values.items()}
    found = run.stepper.step(stack, program, batch.inputs, batch.labels, rate=1.0, number=1)
    assert found.gradient_norms is not None
    assert (found.gradient_norms > limit).all()
    moved = norms({name: value - before[name] for name, value in stack.values.items()})
    torch.testing.assert_close(moved, torch.full((2,), limit, dtype=torch.float64))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_starts_at_one_stays_in_range_and_warms_up(name: str) -> None:
    schedule = SCHEDULES[name].function
    assert schedule(0.0, 10) == 1.0
    factors = [schedule(done / 10, 10) for done in range(101)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors == sorted(factors, reverse=True)
    assert schedule(0.0, 10, warmup=2.0) == 0.0
    assert 0.45 < schedule(1.0, 10, warmup=2.0) <= 0.5


def test_schedules_have_their_values() -> None:
    assert SCHEDULES["step"].function(7.5, 10, factor=0.5, every=3) == 0.25
    assert SCHEDULES["cosine"].function(5.0, 10, floor=0.2) == pytest.approx(0.6)
    assert SCHEDULES["cosine"].function(10.0, 10, floor=0.2) == pytest.approx(0.2)
    assert SCHEDULES["linear"].function(5.0, 10) == pytest.approx(0.5)
    stepper = Stepper.of(Training.model_validate({"optimiser": {"kind": "sgd", "lr": 0.4}, "schedule": "step"}))
    assert stepper.rate(2.5) == pytest.approx(0.4 * 0.96**2)


def test_bfloat16_learns_and_keeps_weights_in_single_precision() -> None:
    spec = trial(prune={"rule": "none"}, training={"epochs": 8, "batch_size": 32, "precision": "bf16"})
    run = training(spec, [0, 1], torch.float32)
    last = finish(run)[-1]
    assert all(row is not None and row["validation_accuracy"] > 0.8 for row in last)
    assert all(weight.dtype is torch.float32 for weight in run.outcome(0).weights.values())
    assert finish(training(spec, [0, 1], torch.float32))[-1] == last
    exact = trial(prune={"rule": "none"}, training={"epochs": 8, "batch_size": 32})
    assert finish(training(exact, [0, 1], torch.float32))[-1] != last


def test_augmentation_changes_what_is_trained_on_and_is_shared() -> None:
    plain = trial()
    spec = trial(training__augmentation=[{"kind": "crop", "padding": 1}, "flip"])
    together, alone = finish(training(spec, [0, 1])), finish(training(spec, [1]))
    for rows, solo in zip(together, alone, strict=True):
        assert rows[1] == pytest.approx(solo[0], rel=1e-8)
    assert finish(training(plain, [1])) != alone


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_nothing_of_an_architecture_is_left_on_the_cpu(kind: str) -> None:
    """Under fake tensors a product of a GPU's tensor with a stray one of the CPU raises, without a GPU.

    Forward, loss and evaluation, before and after a cut of all layers. Autograd's own backward needs the device
    itself: only where it is written out is the whole step run, in the next test.
    """
    model = {"kind": kind, **ARCHITECTURES[kind].traits["small"]}
    module = models.build(Model.model_validate(model), (3, 32, 32), 10)
    places = places_of(module)
    slots, gpu = Stepper.of(Training.model_validate({"optimiser": "adam"})).optimiser.slots, FakeTensorMode()
    with gpu:
        inputs, labels = torch.empty(4, 3, 32, 32, device="cuda"), torch.zeros(4, dtype=torch.int64, device="cuda")
        replicas = {number: on_a_gpu(module, slots) for number in range(2 if models.stackable(module) else 1)}
    for is_cut in (False, True):
        with gpu:
            for replica in replicas.values() if is_cut else ():
                for place in places:
                    apply_cut(replica, place, cut_of(place, weight=half_of(place)), slots)
            [stack] = regroup(replicas, set())
        # The network itself is on the CPU, also where stacks are not: it is their form that it is asked for.
        shapes = {name: torch.empty(value.shape) for name, value in stack.values.items()}
        program = program_for(module, replace(stack, values=shapes))
        with gpu, torch.no_grad():
            if isinstance(program, Modules):
                program._module.train()
                made = list(program._losses_and_hits(stack.values, stack.buffers, inputs, labels, 0.1))
            else:
                made = list(program.step(stack.values, stack.buffers, inputs, labels, 0.1)[:2])
            reading = program.read(stack.values, stack.buffers, inputs)
            made += [reading.logits, *reading.active, *stack.values.values(), *stack.buffers.values()]
            made += evaluate(stack, program, [Examples(inputs, labels)]).correct
            made += [value for some in stack.slots.values() for value in some.values()]
            assert {tensor.device.type for tensor in made} == {"cuda"}
            with pytest.raises(RuntimeError, match="cuda"):
                program.read(stack.values, stack.buffers, torch.empty(4, 3, 32, 32))


def on_a_gpu(module: torch.nn.Module, slots: Iterable[str]) -> Replica:
    """A replicate of it as fake tensors."""

    def there(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: torch.empty(value.shape, dtype=value.dtype, device="cuda") for name, value in tensors}

    values = there(module.named_parameters())
    return Replica(values, {slot: there(values.items()) for slot in slots}, buffers=there(module.named_buffers()))


def half_of(place: Place) -> Weight:
    """What a cut to half the rank leaves: factors, or a matrix where a layer can not have them."""
    rows, cols = place.layer.rows, place.layer.cols
    if not place.layer.factorable:
        return torch.empty(rows, cols, device="cuda")
    rank = min(rows, cols) // 2
    return rmt.Factors(torch.empty(rows, rank, device="cuda"), torch.empty(rank, cols, device="cuda"))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_step_leaves_nothing_on_the_cpu(optimiser: str) -> None:
    """With the penalty, clipping and the update."""
    module = models.build(Model.model_validate({"kind": "mlp", "widths": [9, 7]}), (1, 8, 8), 10)
    options = {"optimiser": optimiser, "l1": 1e-5, "l2": 1e-5, "clip_norm": 1.0, "label_smoothing": 0.1}
    stepper = Stepper.of(Training.model_validate(options))
    with FakeTensorMode(allow_non_fake_inputs=False):
        replicas = {number: on_a_gpu(module, stepper.optimiser.slots) for number in range(2)}
        [stack] = regroup(replicas, set())
        inputs, labels = torch.empty(4, 1, 8, 8, device="cuda"), torch.zeros(4, dtype=torch.int64, device="cuda")
        found = stepper.step(stack, program_for(module, stack), inputs, labels, rate=0.1, number=1)
        assert found.gradient_norms is not None
        made = [found.losses, found.hits, found.gradient_norms, *stack.values.values()]
        assert {tensor.device.type for tensor in made} == {"cuda"}


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_cut_leaves_nothing_on_the_cpu(optimiser: str) -> None:
    """From the cut's matrices on; what is cut depends on numbers, which fake tensors do not have."""
    spec = trial(training__optimiser=optimiser)
    module = models.build(spec.model, (1, 8, 8), 10)
    first, second, _ = places_of(module)
    stepper = Stepper.of(spec.training)
    with FakeTensorMode(allow_non_fake_inputs=False):
        replicas = {}
        for number, rank in enumerate([8, 5]):
            values = {name: torch.empty(value.shape, device="cuda") for name, value in module.named_parameters()}
            replicas[number] = replica = Replica(values)
            stepper.open_slots(replica)
            left, right = torch.empty(96, rank, device="cuda"), torch.empty(rank, 64, device="cuda")
            apply_cut(replica, first, cut_of(first, weight=rmt.Factors(left, right)), stepper.optimiser.slots)
            mask = torch.empty(64, 96, device="cuda", dtype=torch.bool)
            weight = torch.empty(64, 96, device="cuda")
            apply_cut(replica, second, cut_of(second, weight=weight, mask=mask), stepper.optimiser.slots)
        [stack] = regroup(replicas, set())
        stepper.step(
            stack,
            program_for(module, stack),
            torch.empty(4, 1, 8, 8, device="cuda"),
            torch.zeros(4, dtype=torch.int64, device="cuda"),
            rate=0.1,
            number=1,
        )
        taken = stack.take(1)
        kept = [*taken.values.values(), *taken.masks.values()]
        kept += [value for some in taken.slots.values() for value in some.values()]
        assert {tensor.device.type for tensor in kept} == {"cuda"}
        assert taken.rank("linear1") == 5


def cut_of(place: Place, **changes: Any) -> rmt.Cut:
    """A decision about a layer."""
    made = {"fit": None, "mask": None, "rank": 0, "rank_before": 0, "spectrum_before": torch.empty(1).double()}
    return rmt.Cut(**{"name": place.layer.name, "status": "cut", "reason": "", **made, **changes})


def test_a_deterministic_training_is_bit_equal_and_leaves_torch_as_it_was() -> None:
    model = {"kind": "cnn", "channels": [4], "hidden": [16]}
    spec = trial(model=model, training__deterministic=True, training__augmentation=["crop", "cutout"])
    first, second = (training(spec, [0, 1], torch.float32, together=True) for _ in range(2))
    assert finish(first) == finish(second)
    assert not torch.are_deterministic_algorithms_enabled()


def test_deterministic_refuses_what_differs_from_run_to_run() -> None:
    pooled, places = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1, dtype=torch.int64)
    with deterministic(True), pytest.raises(RuntimeError, match="deterministic"):
        torch.nn.functional.max_unpool2d(pooled, places, [2, 2])
    with deterministic(False):
        assert torch.nn.functional.max_unpool2d(pooled, places, [2, 2]).sum() == 1


@pytest.mark.slow
@pytest.mark.parametrize("replicates", [1, 2])
def test_a_compiled_step_is_the_step(replicates: int) -> None:
    """Traced and differentiated as for a GPU, without generating code, which takes minutes here."""
    module = models.build(Model.model_validate({"kind": "cnn", "channels": [4], "hidden": [16]}), (1, 8, 8), 10)
    replica = Replica({name: value.detach().double() for name, value in module.named_parameters()})
    stack = Stack.join(range(replicates), [replica] * replicates)
    inputs, labels = torch.randn(6, 1, 8, 8, dtype=torch.float64), torch.arange(6)
    plain, compiled = (
        program_for(module, stack, compiler=compiler).step(stack.values, {}, inputs, labels, 0.1)
        for compiler in (None, "aot_eager")
    )
    torch.testing.assert_close(compiled.losses, plain.losses)
    assert torch.equal(compiled.hits, plain.hits)
    for found, wanted in zip(compiled.gradients, plain.gradients, strict=True):
        assert found.name == wanted.name
        torch.testing.assert_close(found.values, wanted.values)
