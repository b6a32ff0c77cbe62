"""The rules against other people's: Optuna's pruners and Ray's median rule, on the same random curves."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from ray.tune.schedulers import MedianStoppingRule

from sweeps.stoppers import STOPPERS, Curve, Look
from sweeps.stoppers.halving import bracket, bracket_sizes

EPOCHS = 27


@dataclass(frozen=True)
class Named:
    """All that Ray's rule wants of a trial."""

    trial_id: str


def curves(seed: int, trials: int = 40) -> np.ndarray:
    """Scores by trial and epoch, shape (trials, EPOCHS): noisy, with ties."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(0.02, 0.05, (trials, EPOCHS)) + generator.normal(0, 0.02, (trials, 1))
    return np.round(steps.cumsum(axis=1), 2)


def stops(name: str, scores: np.ndarray, **options: object) -> list[int | None]:
    """The epoch at which each trial stops, one trained after the other."""
    entry, found = STOPPERS[name], []
    others: dict[str, Curve] = {}
    for number, row in enumerate(scores):
        stop = None
        for epoch in range(1, EPOCHS):
            seen = Curve(tuple(row[:epoch]), ())
            if entry.function(Look(str(number), seen, others, EPOCHS, len(scores)), **entry.validate(options)):
                stop = epoch
                break
        others[str(number)] = Curve(tuple(row[: stop or EPOCHS]), ())
        found.append(stop)
    return found


@pytest.mark.parametrize("reduction", [2, 3])
def test_asha_stops_where_optunas_successive_halving_does(reduction):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    scores = curves(1)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=reduction)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    theirs: list[int | None] = []
    for row in scores:
        trial, stop = study.ask(), None
        for epoch in range(1, EPOCHS):
            trial.report(float(row[epoch - 1]), epoch)
            if trial.should_prune():
                stop = epoch
                break
        study.tell(trial, float(row[-1])) if stop is None else study.tell(
            trial, state=optuna.trial.TrialState.PRUNED
        )
        theirs.append(stop)
    ours = stops("asha", scores, reduction=reduction)
    assert ours == theirs
    assert 0 < sum(stop is not None for stop in ours) < len(scores)


def test_median_stops_where_rays_rule_does():
    scores = curves(2)
    rule = MedianStoppingRule(
        time_attr="epoch", metric="score", mode="max", grace_period=1, min_samples_required=3
    )
    # It asks the controller for waiting trials only while it knows too few.
    controller: Any = SimpleNamespace(get_live_trials=list)
    theirs: list[int | None] = []
    for number, row in enumerate(scores):
        trial: Any = Named(str(number))
        stop = None
        for epoch in range(1, EPOCHS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                said = rule.on_trial_result(controller, trial, {"epoch": epoch, "score": float(row[epoch - 1])})
            if said == rule.STOP:
                stop = epoch
                break
        if stop is None:
            rule.on_trial_complete(controller, trial, {"epoch": EPOCHS, "score": float(row[-1])})
        theirs.append(stop)
    ours = stops("median", scores)
    assert ours == theirs
    assert 0 < sum(stop is not None for stop in ours) < len(scores)


@pytest.mark.parametrize(("epochs", "grace", "reduction"), [(27, 1, 3), (81, 1, 3), (20, 2, 2), (5, 5, 3)])
def test_hyperbands_brackets_have_the_sizes_of_optunas(epochs, grace, reduction):
    pruner = optuna.pruners.HyperbandPruner(min_resource=grace, max_resource=epochs, reduction_factor=reduction)
    pruner._try_initialization(optuna.create_study())
    assert bracket_sizes(epochs, grace, reduction) == pruner._trial_allocation_budgets


def test_hyperbands_brackets_fill_in_proportion():
    sizes = bracket_sizes(27, 1, 3)
    counts = np.bincount([bracket(f"trial {number}", sizes) for number in range(4000)], minlength=len(sizes))
    assert counts / 4000 == pytest.approx(np.array(sizes) / sum(sizes), abs=0.03)
