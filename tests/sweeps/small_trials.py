"""Small configurations that the tests of stacks and trainings share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from sweeps.data import Dataset, load
from sweeps.seeds import Seeds
from sweeps.training import StackTraining
from sweeps.trial_spec import TrialSpec


def trial(**changes: Any) -> TrialSpec:
    """A pruned perceptron on digits: four epochs, a cut after every one but the last, ranks that differ."""
    plain: dict[str, Any] = {
        "data": {"kind": "digits", "validation": 300, "train_size": 320},
        "model": {"kind": "mlp", "widths": [96, 64]},
        "training": {
            "epochs": 4,
            "batch_size": 32,
            "optimiser": {"kind": "sgd", "lr": 0.05},
            "l1": 1e-5,
            "l2": 1e-5,
        },
        "prune": {"rule": "mp_threshold", "aggressiveness": 1.0, "every": 1},
    }
    for path, value in changes.items():
        part = plain
        *parents, last = path.split("__")
        for name in parents:
            part = part[name]
        part[last] = value
    return TrialSpec.model_validate(plain)


@lru_cache
def digits() -> Dataset:
    return load(trial().data)


def seeds(*numbers: int) -> list[Seeds]:
    return [Seeds(number) for number in numbers]


def training(
    spec: TrialSpec, numbers: list[int], dtype: torch.dtype = torch.float64, **options: Any
) -> StackTraining:
    return StackTraining(spec, seeds(*numbers), digits(), threads=1, dtype=dtype, **options)


def finish(run: StackTraining) -> list[list[dict[str, float] | None]]:
    """Rows by epoch, wall-clock times left out."""
    history = []
    while run.epoch < run.spec.training.epochs:
        rows = run.run_epoch()
        history.append([None if row is None else without_times(row) for row in rows])
    return history


def without_times(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if not name.endswith("_seconds")}
