"""Stacked training against what people write: ratios, measured side by side in one run.

    python -m benchmarks.training                            # all that follows
    python -m benchmarks.training --only widths --widths 256
    python -m benchmarks.training --only --profile 256       # where the time of a step goes

Arms take turns, a few hundred milliseconds each, and each arm's figure is its fastest turn: what the machine does
beside them hits all arms alike. On a busy machine, `--clock processor --threads 1` counts processor time instead.
The stack's time includes its evaluation (on 100 examples), its metrics and its checks; the scripts have none.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import transforms

from sweeps import models
from sweeps.data import Dataset
from sweeps.seeds import Seeds
from sweeps.stacking import time_both
from sweeps.training import StackTraining
from sweeps.trial_spec import Model, TrialSpec

BATCH, STEPS, CLASSES = 128, 40, 10
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
Clock = Callable[[], float]
Row = Mapping[str, float]
L1 = L2 = 5e-6
EXAMPLES = BATCH * STEPS


def images(shape: tuple[int, int, int] = (1, 28, 28), *, held_out: int = 100) -> Dataset:
    """Random images: what is measured does not depend on what they show."""
    random = np.random.default_rng(0)

    def part(count: int) -> tuple[Any, Any]:
        inputs = random.integers(0, 256, (count, *shape), dtype=np.uint8)
        return inputs, np.arange(count, dtype=np.int64) % CLASSES

    return Dataset("random", *part(EXAMPLES + held_out), *part(100), classes=CLASSES)


def spec_of(model: dict[str, Any], *, held_out: int = 100, penalty: float = L1) -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "data": {"kind": "synthetic", "validation": held_out},
            "model": model,
            "training": {
                "epochs": 1000,
                "batch_size": BATCH,
                "optimiser": {"kind": "sgd", "lr": 0.001, "momentum": 0.9},
                "l1": penalty,
                "l2": penalty,
            },
            "prune": {"rule": "none"},
        }
    )


def train_as_usual(module: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
    """The loop of an ordinary script, with the paper's penalty in the loss."""
    optimiser = torch.optim.SGD(module.parameters(), lr=0.001, momentum=0.9)
    running, correct = 0.0, 0
    for inputs, labels in batches:
        optimiser.zero_grad()
        outputs = module(inputs)
        loss = functional.cross_entropy(outputs, labels)
        penalty = sum(L1 * p.abs().sum() + L2 * p.pow(2).sum() for p in module.parameters())
        (loss + penalty).backward()
        optimiser.step()
        running += loss.item() * len(labels)
        correct += int((outputs.argmax(1) == labels).sum())


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Examples as torchvision's data sets give them: an image object and a transform, one at a time."""

    def __init__(self, data: Dataset) -> None:
        self.inputs, self.labels = data.train_inputs[:EXAMPLES], data.train_labels[:EXAMPLES]
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.inputs[index][0])), int(self.labels[index])


def in_memory(model: dict[str, Any], data: Dataset, clock: Clock) -> Callable[[], float]:
    """One replicate of an ordinary script whose data set is one tensor; seconds a step."""
    inputs = torch.from_numpy(data.train_inputs[:EXAMPLES].copy()).float().div(255)
    labels = torch.from_numpy(data.train_labels[:EXAMPLES].copy())

    def run() -> float:
        module = models.build(Model.model_validate(model), data.shape, data.classes)
        order = torch.randperm(EXAMPLES)
        began = clock()
        train_as_usual(module, ((inputs[rows], labels[rows]) for rows in order.split(BATCH)))
        return (clock() - began) / STEPS

    return run


def with_loader(model: dict[str, Any], data: Dataset, clock: Clock) -> Callable[[], float]:
    """The same with torchvision's transforms and a DataLoader in this process."""
    loader = DataLoader(Pictures(data), batch_size=BATCH, shuffle=True)

    def run() -> float:
        module = models.build(Model.model_validate(model), data.shape, data.classes)
        began = clock()
        train_as_usual(module, iter(loader))
        return (clock() - began) / STEPS

    return run


def stacked(
    model: dict[str, Any],
    data: Dataset,
    replicates: int,
    threads: int,
    clock: Clock,
    *,
    together: bool | None = None,
) -> Callable[[], float]:
    """An epoch of a stack; seconds a step of all replicates."""
    seeds = [Seeds(number) for number in range(replicates)]
    training = StackTraining(spec_of(model), seeds, data, threads=threads, together=together)

    def run() -> float:
        began = clock()
        training.run_epoch()
        return (clock() - began) / STEPS

    return run


def products(widths: list[int], inputs: int, replicates: int, clock: Clock) -> Callable[[], float]:
    """The matrix products of one step and nothing else, in the shapes of the stack."""
    sides = list(zip([*widths, CLASSES], [inputs, *widths], strict=True))
    weights = [torch.randn(replicates, rows, cols) for rows, cols in sides]
    activations = [torch.randn(replicates, cols, BATCH) for _, cols in sides]
    errors = [torch.randn(replicates, rows, BATCH) for rows, _ in sides]
    shared = torch.randn(inputs, BATCH)

    def step() -> None:
        torch.mm(weights[0].flatten(0, 1), shared)
        torch.mm(errors[0].flatten(0, 1), shared.mT)
        for weight, activation, error in zip(weights[1:], activations[1:], errors[1:], strict=True):
            torch.bmm(weight, activation)
            torch.bmm(error, activation.mT)
            torch.bmm(weight.mT, error)

    def run() -> float:
        began = clock()
        for _ in range(STEPS):
            step()
        return (clock() - began) / STEPS

    return run


def fastest(arms: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Each arm's fastest turn; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds + 1):
        for name, run in arms.items():
            seconds = run()
            if turn:
                times[name].append(seconds)
    return {name: min(some) for name, some in times.items()}


def report(what: str, ratio: float, wanted: str) -> None:
    print(f"| {what} | {ratio:.2f} | {wanted} |", flush=True)


def perceptron(width: int, rounds: int, threads: int, clock: Clock, *, loader: bool, wanted: str) -> None:
    model, data, replicates = {"kind": "mlp", "widths": [width, width]}, images(), 10
    arms = {
        "in memory": in_memory(model, data, clock),
        "stack": stacked(model, data, replicates, threads, clock),
        "products": products([width, width], 784, replicates, clock),
    }
    if loader:
        arms["loader"] = with_loader(model, data, clock)
    seconds = fastest(arms, rounds)
    print(f"| | {', '.join(f'{name} {1e3 * s:.2f} ms' for name, s in seconds.items())} | |")
    what = f"10 replicates, 784-{width}-{width}-10, batch {BATCH}, l1 + l2"
    report(f"{what}: against in-memory script", replicates * seconds["in memory"] / seconds["stack"], wanted)
    if loader:
        report(f"{what}: against DataLoader script", replicates * seconds["loader"] / seconds["stack"], "≥ 8")
    bound = "≤ 1.8" if width == 1000 else "-"
    report(f"{what}: wall time over its matrix products", seconds["stack"] / seconds["products"], bound)


def convolutional(kind: str, rounds: int, threads: int, clock: Clock) -> None:
    model, data, replicates = {"kind": kind}, images(), 5
    arms = {
        "in memory": in_memory(model, data, clock),
        "stack": stacked(model, data, replicates, threads, clock, together=True),
        "one by one": stacked(model, data, replicates, threads, clock, together=False),
    }
    seconds = fastest(arms, rounds)
    timing = time_both(spec_of(model), data.shape, data.classes, replicates=replicates, threads=threads)
    chosen = "stack" if timing.together else "one by one"
    print(f"| | {', '.join(f'{name} {1e3 * s:.2f} ms' for name, s in seconds.items())} | |")
    for arm in ("stack", "one by one"):
        ratio = replicates * seconds["in memory"] / seconds[arm]
        what = f"{replicates} replicates of {kind}, {arm}: against in-memory script"
        report(what, ratio, "≥ 1 (chosen)" if arm == chosen else "-")


def shares(width: int, rounds: int, threads: int) -> None:
    """What evaluation takes of an epoch (a fifth of the examples held out), and l1 + l2 of a step."""
    model, held_out = {"kind": "mlp", "widths": [width, width]}, EXAMPLES // 4
    data, seeds = images(held_out=held_out), [Seeds(number) for number in range(10)]
    with_penalty, without = (
        StackTraining(spec_of(model, held_out=held_out, penalty=penalty), seeds, data, threads=threads)
        for penalty in (L1, 0.0)
    )

    def train(training: StackTraining) -> Row:
        row = training.run_epoch()[0]
        assert row is not None
        return row

    pairs = [(train(with_penalty), train(without)) for _ in range(rounds + 1)][1:]
    evaluating = min(
        row["evaluation_seconds"] / (row["evaluation_seconds"] + row["train_seconds"]) for row, _ in pairs
    )
    steps = [min(row["train_seconds"] for row in some) for some in zip(*pairs, strict=True)]
    what = f"10 replicates, 784-{width}-{width}-10"
    report(f"{what}: evaluation's share of an epoch", evaluating, "≤ 0.15")
    report(f"{what}: share of a step that l1 + l2 take", 1 - steps[1] / steps[0], "< 0.15")


def memory(width: int, threads: int) -> None:
    """Bytes that a stack of 10 allocates, at most at once, against ten models with gradient and momentum."""
    replicates, data = 10, images()
    seeds = [Seeds(number) for number in range(replicates)]
    training = StackTraining(spec_of({"kind": "mlp", "widths": [width, width]}), seeds, data, threads=threads)
    [stack] = training._stacks
    parts = (stack.values, *stack.slots.values(), stack.masks, stack.buffers)
    kept = sum(tensor.nbytes for part in parts for tensor in part.values())
    training.run_epoch()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        training.run_epoch()
    live = highest = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            highest = max(highest, live)
    weights = sum(value[0].numel() for value in stack.values.values())
    activations = replicates * BATCH * (2 * width + CLASSES) * 4
    alone = replicates * 3 * weights * 4
    print(
        f"| | kept {kept / 2**20:.1f} MiB, passing at most {highest / 2**20:.1f} MiB, "
        f"a batch of activations {activations / 2**20:.1f} MiB | |"
    )
    what = f"memory of a stack of 10, 784-{width}-{width}-10, less a batch of activations: against 10 models"
    report(what, (kept + highest - activations) / alone, "≤ 1.3")


def forks(threads: int, clock: Clock, *, epochs: int = 30, prunings: int = 12) -> None:
    """One training, and prunings of its end that each train for a thirtieth more."""
    data, seeds = images(), [Seeds(number) for number in range(5)]
    plain = spec_of({"kind": "mlp", "widths": [256, 256]}).document()
    plain["training"]["epochs"] = epochs
    began = clock()
    twin = StackTraining(TrialSpec.model_validate(plain), seeds, data, threads=threads)
    while twin.epoch < epochs:
        twin.run_epoch()
    state, trained = twin.state(), clock() - began
    plain["training"]["epochs"] = epochs + epochs // 30
    for number in range(prunings):
        plain["prune"] = {"rule": "mp_threshold", "aggressiveness": (number + 1) / prunings, "every": epochs}
        sibling = StackTraining(TrialSpec.model_validate(plain), seeds, data, threads=threads, state=state)
        sibling.run_epoch()
    report(
        f"a training with {prunings} prunings of its end: against the training",
        (clock() - began) / trained,
        "≤ 1.6",
    )


PARTS = ("widths", "convolutions", "shares", "memory", "forks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="these parts; all if not given")
    parser.add_argument("--profile", type=int, nargs="+", default=[], metavar="WIDTH", help="where the time goes")
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 1000])
    parser.add_argument("--convolutions", nargs="+", default=["lenet5", "cnn"])
    parser.add_argument("--rounds", type=int, default=8, help="turns of each arm; convolutions take half as many")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    began, clock = time.perf_counter(), CLOCKS[arguments.clock]
    rounds, threads = arguments.rounds, arguments.threads
    if arguments.only:
        print(f"torch {torch.__version__}, {threads} threads\n\n| what | ratio | must be |\n|---|---|---|")
    if "widths" in arguments.only:
        for width in arguments.widths:
            wanted = {64: "≥ 2", 256: "≥ 2.5", 1000: "≥ 1.3"}.get(width, "-")
            perceptron(width, rounds, threads, clock, loader=width == 256, wanted=wanted)
    if "convolutions" in arguments.only:
        for kind in arguments.convolutions:
            convolutional(kind, max(1, rounds // 2), threads, clock)
    if "shares" in arguments.only:
        shares(256, rounds, threads)
    if "memory" in arguments.only:
        for width in (256, 1000):
            memory(width, threads)
    if "forks" in arguments.only:
        forks(threads, clock)
    for width in arguments.profile:
        from benchmarks import training_profile

        training_profile.shares(width, threads)
    print(f"\n{(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
