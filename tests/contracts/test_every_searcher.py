"""What every search algorithm promises, whichever it is: registering one puts it under test."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sweeps.search import SEARCHERS
from sweeps.search.samplers import Study, point_at
from sweeps.space import Dimension, Space

NUMBERS = {
    "training.optimiser.lr": Dimension(loguniform=[0.001, 0.1]),
    "training.l2": Dimension(uniform=[0.0, 1.0], step=0.3),
    "training.epochs": Dimension(integers=[5, 22], step=5),
    "training.batch_size": Dimension(logintegers=[16, 256]),
    "prune.aggressiveness": Dimension(grid=[0.75, 0.25, 0.5]),
}
CATEGORY = {"model.widths": Dimension(grid=[[64], [128], [64, 64]])}
SMALL = {"gp": {"startup": 3}, "tpe": {"startup": 3}, "cmaes": {"population": 4}, "nsga2": {"population": 4}}
TRIALS = 6


def space_for(name: str) -> Space:
    return Space(NUMBERS | (CATEGORY if SEARCHERS[name].traits.get("draws_categories", True) else {}))


def study_of(name: str, seed: int = 0, objectives: int = 1) -> Study:
    options = SEARCHERS[name].validate({"trials": TRIALS} | SMALL.get(name, {}))
    return Study(space_for(name), SEARCHERS[name].function(seed, **options), objectives)


def score(point: dict[str, Any]) -> float:
    """Best where the learning rate is 0.01; diverges above 0.05."""
    rate = point["training.optimiser.lr"]
    return -math.inf if rate > 0.05 else -abs(math.log(rate / 0.01)) - point["training.l2"]


def search(name: str, study: Study, trials: int = TRIALS, objectives: int = 1) -> list[dict[str, Any]]:
    points = []
    for _ in range(trials):
        number, drawn = study.ask()
        points.append(point_at(space_for(name), drawn))
        study.tell(number, [score(points[-1])] * objectives)
    return points


@pytest.mark.parametrize("name", list(SEARCHERS))
def test_points_are_inside_the_space_whatever_the_outcomes(name):
    for point in search(name, study_of(name)):
        assert list(point) == list(space_for(name))
        for path, value in point.items():
            assert space_for(name)[path].allows(value)
        assert 0.001 <= point["training.optimiser.lr"] <= 0.1
        assert point["training.l2"] in (0.0, 0.3, 0.6, 0.9)
        assert point["training.epochs"] in (5, 10, 15, 20)
        assert isinstance(point["training.batch_size"], int)


@pytest.mark.parametrize("name", list(SEARCHERS))
def test_the_same_seed_and_outcomes_give_the_same_points_and_another_seed_others(name):
    first = search(name, study_of(name))
    assert search(name, study_of(name)) == first
    assert search(name, study_of(name, seed=1)) != first


@pytest.mark.parametrize("name", list(SEARCHERS))
def test_a_draw_that_is_dropped_is_not_waited_for(name):
    study = study_of(name)
    for _ in range(3):
        study.drop(study.ask()[0])
    assert len(search(name, study)) == TRIALS


@pytest.mark.parametrize("name", [name for name in SEARCHERS if SEARCHERS[name].traits.get("several")])
def test_several_objectives_are_followed_where_it_says_so(name):
    assert len(search(name, study_of(name, objectives=2), objectives=2)) == TRIALS


@pytest.mark.parametrize("name", list(SEARCHERS))
def test_outcomes_make_a_difference(name):
    """A trial that was not drawn here, and is far better than any, moves the points that follow."""
    plain, told = study_of(name), study_of(name)
    search(name, plain, 6)
    search(name, told, 3)
    for _ in range(3):
        number, drawn = told.ask()
        told.tell(number, [100 * (1 if point_at(space_for(name), drawn)["training.l2"] > 0.5 else -1)])
    assert search(name, plain, 3) != search(name, told, 3)


@pytest.mark.parametrize("name", list(SEARCHERS))
def test_it_says_what_it_is(name):
    assert SEARCHERS[name].summary
    assert {"trials", "seed", "at_once"} <= set(SEARCHERS[name].options.model_fields)
