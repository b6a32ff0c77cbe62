"""Every registered architecture fits or says why not, and trains its replicates as if each were alone."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from sweeps import models
from sweeps.data import Dataset
from sweeps.models import ARCHITECTURES, ArchitectureMismatch
from sweeps.optimisers import OPTIMISERS
from sweeps.seeds import Seeds
from sweeps.training import StackTraining
from sweeps.trial_spec import Model, TrialSpec

SHAPE, CLASSES = (3, 32, 32), 3
SOLO_TOLERANCE = 1e-5
"""Relative, in double precision."""


def model_of(name: str) -> Model:
    return Model.model_validate({"kind": name, **ARCHITECTURES[name].traits["small"]})


@lru_cache
def images() -> Dataset:
    random = np.random.default_rng(0)

    def part(count: int) -> tuple[Any, Any]:
        labels = np.arange(count, dtype=np.int64) % CLASSES
        inputs = random.standard_normal((count, *SHAPE), dtype=np.float32)
        return inputs + labels[:, None, None, None].astype(np.float32), labels

    return Dataset("noise", *part(44), *part(12), classes=CLASSES)


def trial(name: str, optimiser: str) -> TrialSpec:
    return TrialSpec.model_validate(
        {
            "data": {"kind": "synthetic", "validation": 12},
            "model": model_of(name).model_dump(),
            # Heavy tails, and a rule that looks at no noise: replicates then differ in ranks from the start.
            "initialisation": {"kind": "student_t"},
            "training": {
                "epochs": 2,
                "batch_size": 16,
                "optimiser": {"kind": optimiser, "lr": 0.003 if optimiser == "sgd" else 0.001},
                # Adam takes whole steps by the sign of what is zero but for rounding: a bias that a norm undoes.
                "l1": 1e-6 if optimiser == "sgd" else 0.0,
                "l2": 1e-5,
            },
            "prune": {"rule": "energy", "aggressiveness": 0.6, "every": 1},
        }
    )


def can_stack(name: str) -> bool:
    return models.stackable(models.build(model_of(name), SHAPE, CLASSES))


def training(name: str, optimiser: str, numbers: list[int]) -> StackTraining:
    seeds, spec = [Seeds(number) for number in numbers], trial(name, optimiser)
    return StackTraining(spec, seeds, images(), threads=1, dtype=torch.float64, together=can_stack(name))


# Where replicates are computed one by one, what optimises them can not mix them: one optimiser will do.
CASES = [(name, kind) for name in ARCHITECTURES for kind in (OPTIMISERS if can_stack(name) else ["sgd"])]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_fits_or_says_why_not(name: str) -> None:
    models.check(model_of(name), SHAPE, CLASSES)
    module = models.build(model_of(name), SHAPE, CLASSES)
    declared = ARCHITECTURES[name].traits["stackable"]
    assert declared is None or declared == models.stackable(module)
    if ARCHITECTURES[name].traits.get("any_size"):
        return
    with pytest.raises(
        ArchitectureMismatch, match=rf"model {name} does not fit examples of shape 1x3x3 in 3 classes"
    ):
        models.check(model_of(name), (1, 3, 3), CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "optimiser"), CASES)
def test_replicates_are_what_they_are_alone(name: str, optimiser: str) -> None:
    """Over a cut that leaves different ranks; a poisoned neighbour changes no bit in the same layout."""
    runs = [training(name, optimiser, numbers) for numbers in ([0, 1], [1], [0, 1])]
    poisoned = runs[2]
    next(iter(poisoned._stacks[0].values.values()))[0].view(-1)[0] = math.nan
    while runs[0].epoch < 2:
        both, alone, others = (run.run_epoch() for run in runs)
        row, solo, survivor = both[1], alone[0], others[1]
        assert row is not None
        assert solo is not None
        assert survivor is not None
        exact = widths(runs[0]) == widths(poisoned)
        assert exact or runs[0].epoch == 2, "before a cut nothing can be padded"
        for key, value in solo.items():
            if "_seconds" not in key:
                assert row[key] == pytest.approx(value, rel=SOLO_TOLERANCE), key
                assert survivor[key] == (row[key] if exact else pytest.approx(value, rel=SOLO_TOLERANCE)), key
    mine, its, survivors = runs[0].outcome(1), runs[1].outcome(0), poisoned.outcome(1)
    assert poisoned.ended(0) is not None
    assert [layer["rank"] for layer in mine.layers] == [layer["rank"] for layer in its.layers]
    assert any(layer["factored"] for layer in mine.layers), "the case is only worth something with factors"
    others = [layer["rank"] for layer in runs[0].outcome(0).layers]
    assert others != [layer["rank"] for layer in mine.layers], "and with ranks that differ"
    for key, weight in mine.weights.items():
        torch.testing.assert_close(weight, its.weights[key], rtol=SOLO_TOLERANCE, atol=1e-8)
        if exact:
            assert torch.equal(weight, survivors.weights[key])
        else:
            torch.testing.assert_close(weight, survivors.weights[key], rtol=SOLO_TOLERANCE, atol=1e-8)


def widths(run: StackTraining) -> list[dict[str, int]]:
    """Of the padded factors: a replicate that diverged before a cut has no rank there that could widen them."""
    return [{name: value[0].numel() for name, value in stack.values.items()} for stack in run._stacks]
