"""Where the time of a stacked training goes: `python -m benchmarks.training --only --profile 256`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.training import STEPS, images, products, spec_of
from sweeps.optimisers import Optimiser
from sweeps.seeds import Seeds
from sweeps.stack import Tensors
from sweeps.stack_program import Gradient, Program, Reading, Step
from sweeps.training import StackTraining
from sweeps.training_data import Examples, TrainingData

Seconds = Counter[str]
Item = TypeVar("Item", Gradient, Examples)


@dataclass(frozen=True)
class _TimedProgram:
    program: Program
    seconds: Seconds

    def step(self, values: Tensors, buffers: Tensors, inputs: Tensor, labels: Tensor, smoothing: float) -> Step:
        began = time.perf_counter()
        found = self.program.step(values, buffers, inputs, labels, smoothing)
        self.seconds["gradients"] += time.perf_counter() - began
        return found._replace(gradients=_timed(iter(found.gradients), "gradients", self.seconds))

    def read(self, values: Tensors, buffers: Tensors, inputs: Tensor) -> Reading:
        return self.program.read(values, buffers, inputs)


@dataclass(frozen=True)
class _TimedOptimiser:
    optimiser: Optimiser
    seconds: Seconds

    @property
    def lr(self) -> float:
        return self.optimiser.lr

    @property
    def slots(self) -> Any:
        return self.optimiser.slots

    def update(self, value: Tensor, gradient: Tensor, slots: Sequence[Tensor], *, rate: float, step: int) -> None:
        began = time.perf_counter()
        self.optimiser.update(value, gradient, slots, rate=rate, step=step)
        self.seconds["update"] += time.perf_counter() - began


class _TimedData:
    def __init__(self, data: TrainingData, seconds: Seconds) -> None:
        self._data, self._seconds = data, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def batches(self, epoch: int) -> Iterator[Examples]:
        return _timed(self._data.batches(epoch), "data", self._seconds)


def _timed(values: Iterator[Item], name: str, seconds: Seconds) -> Iterator[Item]:
    while True:
        began = time.perf_counter()
        value = next(values, None)
        seconds[name] += time.perf_counter() - began
        if value is None:
            return
        yield value


def shares(width: int, threads: int, *, epochs: int = 10) -> None:
    """Print what an epoch's time of ten stacked perceptrons is made of, a step at a time."""
    seeds, seconds = [Seeds(number) for number in range(10)], Counter[str]()
    spec = spec_of({"kind": "mlp", "widths": [width, width]})
    training = StackTraining(spec, seeds, images(), threads=threads)
    training.run_epoch()
    operators = _operators(training)
    training._programs = [_TimedProgram(program, seconds) for program in training._programs]
    training.stepper = replace(training.stepper, optimiser=_TimedOptimiser(training.stepper.optimiser, seconds))
    training._data = _TimedData(training._data, seconds)  # type: ignore[assignment]
    began = time.perf_counter()
    for _ in range(epochs):
        row = training.run_epoch()[0]
        assert row is not None
        seconds["training"] += row["train_seconds"]
        seconds["evaluation"] += row["evaluation_seconds"]
    whole, steps = time.perf_counter() - began, epochs * STEPS
    bare = products([width, width], 784, len(seeds), time.perf_counter)
    in_products = min(bare() for _ in range(5)) * steps
    parts = {
        "matrix products, as fast as they are alone": in_products,
        "rest of the gradients: activations, loss, slower products": seconds["gradients"] - in_products,
        "the optimiser's update": seconds["update"],
        "batches of examples": seconds["data"],
        "penalty, and the step's own code": seconds["training"]
        - seconds["gradients"]
        - seconds["update"]
        - seconds["data"],
        "evaluation": seconds["evaluation"],
        "rest of an epoch: metrics, checks": whole - seconds["training"] - seconds["evaluation"],
    }
    print(f"\n| 784-{width}-{width}-10, ten replicates | ms a step | share |\n|---|---|---|")
    for name, some in parts.items():
        print(f"| {name} | {1e3 * some / steps:.2f} | {some / whole:.0%} |")
    print(f"| all | {1e3 * whole / steps:.2f} | |")
    print(f"| outside of torch's operators: Python | | {1 - operators:.0%} |", flush=True)


def _operators(training: StackTraining) -> float:
    """Share of an epoch inside of torch's operators, their dispatch included."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        began = time.perf_counter()
        training.run_epoch()
        whole = time.perf_counter() - began
    return sum(row.self_cpu_time_total for row in profiled.key_averages()) / 1e6 / whole
