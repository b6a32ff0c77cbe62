"""Small trials computed as one against one trial at a time: python -m benchmarks.packing [--rounds 20]

Trials of three replicates differ in learning rate. An epoch of each, with its evaluation and its rows, is timed in
turns in one process, without Ray and without records; each arm's figure is its fastest turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from benchmarks.training import images
from sweeps.data import Dataset, load
from sweeps.seeds import Seeds
from sweeps.training import StackTraining
from sweeps.training_epoch import Beside
from sweeps.trial_spec import Data, TrialSpec

REPLICATES = 3
DIGITS = {"kind": "digits", "validation": 360}
RANDOM = {"kind": "synthetic", "validation": 100}


def trainings(data: dict[str, object], dataset: Dataset, widths: list[int], trials: int) -> list[StackTraining]:
    seeds = [Seeds(number) for number in range(REPLICATES)]
    made = []
    for number in range(trials):
        training = {"epochs": 1000, "batch_size": 128, "l1": 5e-6, "l2": 5e-6}
        plain = {
            "data": data,
            "model": {"kind": "mlp", "widths": widths},
            "training": {**training, "optimiser": {"kind": "sgd", "lr": 1e-4 * (1 + number)}},
            "prune": {"rule": "none"},
        }
        made.append(StackTraining(TrialSpec.model_validate(plain), seeds, dataset, threads=1))
    return made


def apart(each: list[StackTraining]) -> Callable[[], None]:
    def epoch() -> None:
        for training in each:
            training.run_epoch()

    return epoch


def packed(each: list[StackTraining]) -> Callable[[], None]:
    beside = Beside({str(number): REPLICATES for number in range(len(each))})
    for number, training in enumerate(each):
        beside.enter(str(number), training)

    def epoch() -> None:
        for name in beside.names:
            beside.run_epoch(name)

    return epoch


def compare(
    what: str, data: dict[str, object], dataset: Dataset, widths: list[int], trials: int, rounds: int
) -> None:
    arms = [make(trainings(data, dataset, widths, trials)) for make in (packed, apart)]
    fastest = [float("inf"), float("inf")]
    for _ in range(rounds):
        for number, epoch in enumerate(arms):
            began = time.perf_counter()
            epoch()
            fastest[number] = min(fastest[number], time.perf_counter() - began)
    together, alone = (1000 * seconds for seconds in fastest)
    print(f"{what}: {together:.1f} ms an epoch packed, {alone:.1f} ms one by one, ratio {alone / together:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    digits, random = load(Data.model_validate(DIGITS)), images()
    for width in (16, 64, 256):
        compare(f"digits, 64-{width}-{width}-10", DIGITS, digits, [width] * 2, given.trials, given.rounds)
    for width in (16, 64, 256):
        compare(f"28 x 28, 784-{width}-{width}-10", RANDOM, random, [width] * 2, given.trials, given.rounds // 4)


if __name__ == "__main__":
    main()
