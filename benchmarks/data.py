"""What loading, splitting and augmenting cost: `python benchmarks/data.py [KIND ...]`.

A step is timed once, in a process of its own: memory is the growth of that process's high-water mark.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

STEPS = ("load", "fingerprint", "split", "normalise")


def main(kinds: list[str]) -> None:
    print(f"{'data set':<14} {'step':<14} {'seconds':>8}  {'MB added':>8}  {'MB of arrays':>12}")
    for kind in kinds:
        for step in STEPS:
            run = [sys.executable, __file__, "--step", kind, step]
            row = subprocess.run(run, capture_output=True, text=True, check=True).stdout.rstrip()
            print(f"{kind:<14} {step:<14} {row}")
    augmentations()


def measure(kind: str, step: str) -> None:
    """One step of one data set, everything before it done already."""
    from sweeps.data import load, split
    from sweeps.trial_spec import Data

    data = Data.model_validate({"kind": kind})
    if step == "load":
        seconds, added, dataset = cost(lambda: load(data))
    else:
        dataset = load(data)
        if step == "fingerprint":
            seconds, added, _ = cost(lambda: dataset.fingerprint)
        else:
            validation = len(dataset.train_labels) // 6
            seconds, added, parts = cost(lambda: split(dataset, seed=0, validation=validation))
            if step == "normalise":
                seconds, added, _ = cost(lambda: (parts.train.inputs, parts.validation.inputs, parts.test.inputs))
    arrays = dataset.train_inputs.nbytes + dataset.test_inputs.nbytes
    print(f"{seconds:8.3f}  {added:8.0f}  {arrays / 1e6:12.0f}")


def cost(work: Callable[[], Any]) -> tuple[float, float, Any]:
    before, start = high_water(), time.perf_counter()
    result = work()
    return time.perf_counter() - start, high_water() - before, result


def high_water() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def augmentations() -> None:
    from sweeps.data import augment

    steps = [{"kind": "crop"}, {"kind": "flip"}, {"kind": "cutout"}]
    images, generator = torch.randn(128, 3, 32, 32), torch.Generator().manual_seed(0)
    print(f"\n{'augmentation of 128 × 3 × 32 × 32':<36} {'ms a batch':>10}")
    for name, chosen in [*((step["kind"], [step]) for step in steps), ("all three", steps)]:
        apply, times = augment(chosen), []
        for _ in range(30):
            start = time.perf_counter()
            apply(images, generator)
            times.append(time.perf_counter() - start)
        print(f"{name:<36} {1e3 * sorted(times)[len(times) // 2]:10.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        measure(*sys.argv[2:4])
    else:
        main(sys.argv[1:] or ["digits", "fashion_mnist", "synthetic"])
