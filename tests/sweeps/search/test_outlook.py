"""What a plan says of a search before and in the middle of it: how much at most, at what price, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeps.cautions import cautions
from sweeps.errors import SpecError
from sweeps.launch import plan
from sweeps.price_quote import quote
from sweeps.search.outlook import Outlook, fell_short
from sweeps.spec import SweepSpec
from tests.sweeps.search.test_adaptive import DESIGNS, carry_on, opened, points, spec_of

LR = {"training.optimiser.lr": {"loguniform": [0.001, 1.0]}}
TWO = {"training.optimiser.lr": {"grid": [0.01, 0.1]}}


def outlook(spec: SweepSpec, storage: Path) -> Outlook:
    found = plan(spec, storage=storage)[0].outlook
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("changes", "trials", "twins", "has_front"),
    [
        ({}, 7, 0, False),
        ({"baseline": True}, 7, 1, False),
        ({"baseline": True, "space": {**LR, "model.widths": {"grid": [[8], [9]]}}}, 7, 1, False),
        (
            {
                "baseline": True,
                "space": {**LR, "model.widths": {"grid": [[8], [9]]}},
                "design": {"kind": "tpe", "trials": 7, "cross": ["model.widths"]},
            },
            7,
            2,
            False,
        ),
        ({"baseline": True, "space": TWO}, 2, 1, False),
        (
            {
                "baseline": True,
                "design": {"kind": "nsga2", "trials": 9},
                "objectives": [{"metric": "validation_accuracy"}, {"metric": "parameters_kept", "mode": "min"}],
            },
            9,
            0,
            True,
        ),
    ],
    ids=["no twins", "best", "category", "cells", "two points", "front"],
)
def test_before_anything_is_drawn_it_counts_what_there_is_at_most(
    changes: dict[str, Any], trials: int, twins: int, has_front: bool, tmp_path: Path
):
    found = outlook(spec_of(**changes), tmp_path)
    assert (len(found.trials), len(found.twins), found.has_front) == (trials, twins, has_front)
    assert found.replicates == 2 * (trials + twins)
    names = [trial.trial_id for trial in (*found.trials, *found.twins)]
    assert len(set(names)) == len(names)


@pytest.mark.slow
@pytest.mark.parametrize("most", [2, 3])
def test_in_the_middle_it_counts_what_is_trained_after_that(most: int, tmp_path: Path):
    spec = spec_of(baseline=True)
    sweep = tmp_path / spec.name
    carry_on(opened(spec, sweep), sweep, most=most)
    made, progress = plan(spec, storage=tmp_path)
    assert made.outlook is not None
    begun = sum(bool(progress.to_train(trial)) for trial in made)
    at_most = begun + len(made.outlook.trials) + len(made.outlook.twins)
    assert carry_on(opened(spec, sweep), sweep) == at_most == 8 - most
    after = outlook(spec, tmp_path)
    assert (after.trials, after.twins) == ([], [])


def test_a_search_has_a_price_and_cautions_before_it_begins(tmp_path: Path):
    widths = {"grid": [[8], [9], [256]]}
    spec = spec_of(space={**LR, "model.widths": widths}, design={"kind": "tpe", "trials": 2, "at_once": 1})
    made, progress = plan(spec, storage=tmp_path)
    asked = quote(made, progress, tmp_path / spec.name, cpus=8)
    assert asked.price.trials == 2
    assert asked.price.seconds is None
    assert asked.price.slots == 1
    largest = plan(spec_of("tpe", space={"model.widths": {"grid": [[256]]}, **LR}), storage=tmp_path)
    assert asked.price.memory_bytes == quote(*largest, tmp_path / spec.name).price.memory_bytes
    piloted = quote(made, progress, tmp_path / spec.name, with_pilot=True)
    assert piloted.pilots
    assert piloted.price.seconds is not None
    assert any("too small" in said for said in cautions(made))


@pytest.mark.parametrize("kind", ["tpe", "cmaes"])
def test_a_search_that_would_find_nothing_is_refused(kind: str, tmp_path: Path):
    spec = spec_of(kind, exclude=["training.optimiser.lr > 0"])
    with pytest.raises(SpecError, match=r"exclude: leaves no valid trial of 300 points .* nothing to search"):
        plan(spec, storage=tmp_path)
    some = spec_of(kind, exclude=["training.optimiser.lr > 0.01"])
    assert len(outlook(some, tmp_path).trials) == some.design.options["trials"]


@pytest.mark.slow
def test_a_search_that_ends_early_says_how_many_it_found(tmp_path: Path):
    spec = spec_of(space=TWO)
    sweep = tmp_path / spec.name
    assert carry_on(opened(spec, sweep), sweep) == 2
    said = fell_short(opened(spec, sweep).plan)
    assert said.startswith("tpe has found 2 of 7 trials in this space: what tpe chose after that was excluded")
    assert fell_short(opened(spec_of(space=TWO, design={**DESIGNS["tpe"], "trials": 2}), sweep).plan) == ""


@pytest.mark.slow
def test_a_search_whose_log_is_damaged_finds_its_records_again(tmp_path: Path):
    spec = spec_of(design={"kind": "tpe", "trials": 3})
    sweep = tmp_path / spec.name
    assert carry_on(opened(spec, sweep), sweep) == 3
    found = points(opened(spec, sweep))
    (sweep / "plan.json").write_text((sweep / "plan.json").read_text()[:100])
    again = opened(spec, sweep)
    assert points(again) == []
    carry_on(again, sweep)
    assert points(again) == found
    assert len(list(sweep.glob("trials/*/*/record.json"))) == 6
