"""What every design promises, whichever it is: registering one puts it under test."""

import pytest

from sweeps.design import DESIGNS
from sweeps.space import Dimension, Space

SPACE = {
    "model.widths": Dimension(grid=[[64], [128]]),
    "training.optimiser.lr": Dimension(loguniform=[0.001, 0.1]),
    "training.epochs": Dimension(integers=[5, 20], step=5),
}
OPTIONS = {"random": {"points": 7}, "sobol": {"points": 7}, "latin_hypercube": {"points": 7}}


def points(name, space=SPACE):
    entry = DESIGNS[name]
    return entry.function(Space(space), **entry.validate(OPTIONS.get(name, {})))


@pytest.mark.parametrize("name", list(DESIGNS))
def test_points_are_inside_the_space_distinct_and_reproducible(name):
    drawn = points(name)
    assert drawn
    assert drawn == points(name)
    assert len({repr(point) for point in drawn}) == len(drawn)
    for point in drawn:
        assert list(point) == list(SPACE)
        assert point["model.widths"] in ([64], [128])
        assert 0.001 <= point["training.optimiser.lr"] <= 0.1
        assert point["training.epochs"] in (5, 10, 15, 20)


@pytest.mark.parametrize("name", list(DESIGNS))
def test_no_space_is_one_point(name):
    assert points(name, {}) == [{}]


@pytest.mark.parametrize("name", list(DESIGNS))
def test_it_says_what_it_is(name):
    assert DESIGNS[name].summary


def test_grid_takes_every_combination():
    assert len(points("grid")) == 2 * 3 * 3


def test_more_random_points_keep_those_drawn_before():
    few = DESIGNS["random"].function(Space(SPACE), points=5, seed=3)
    assert DESIGNS["random"].function(Space(SPACE), points=9, seed=3)[:5] == few
    assert DESIGNS["random"].function(Space(SPACE), points=5, seed=4) != few
