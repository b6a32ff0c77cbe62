import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sweeps.space import Dimension


def dimension(**given):
    return Dimension.model_validate(given)


def test_a_position_maps_onto_the_interval():
    assert dimension(uniform=[2, 4]).at(0.25) == 2.5
    assert dimension(loguniform=[0.001, 0.1]).at(0.5) == pytest.approx(0.01)
    assert dimension(grid=["a", "b", "c"]).at(0.34) == "b"
    assert dimension(grid=["a", "b"]).at(1.0) == "b"


@given(st.floats(0, 1), st.integers(-20, 20), st.integers(1, 40), st.integers(1, 7))
def test_integers_stay_on_their_steps_inside_their_ends(position, low, width, step):
    value = dimension(integers=[low, low + width], step=step).at(position)
    assert isinstance(value, int)
    assert low <= value <= low + width
    assert (value - low) % step == 0


def test_each_integer_is_equally_likely():
    dim = dimension(integers=[1, 4])
    values = [dim.at((i + 0.5) / 4000) for i in range(4000)]
    assert [values.count(v) for v in (1, 2, 3, 4)] == [1000] * 4


@given(st.floats(0, 1))
def test_a_step_gives_round_numbers(position):
    value = dimension(uniform=[0, 1], step=0.1).at(position)
    assert value == float(f"{value:.1f}")


def test_levels_span_the_dimension_with_both_ends():
    assert dimension(loguniform=[0.001, 0.1]).levels(3) == pytest.approx([0.001, 0.01, 0.1])
    assert dimension(integers=[1, 2]).levels(5) == [1, 2]
    assert dimension(grid=[3, 1]).levels(7) == [3, 1]
    assert dimension(uniform=[0, 1]).levels(1) == [0.5]


def test_ends_are_what_has_to_be_valid():
    assert dimension(grid=[[1], [2, 2]]).ends == [[1], [2, 2]]
    assert dimension(uniform=[0.5, 2]).ends == [0.5, 2.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"grid": []}, "at least 1 item"),
        ({"grid": [1, 2, 1]}, "1 stands twice"),
        ({"uniform": [2, 1]}, "is empty; give"),
        ({"loguniform": [0, 1]}, "starts above 0; got 0"),
        ({"uniform": [1]}, "at least 2 items"),
        ({"uniform": [0, math.inf]}, "finite number"),
        ({"integers": [0, 1.5]}, "whole numbers"),
        ({"grid": [1], "uniform": [0, 1]}, "exactly one of"),
        ({}, "exactly one of"),
        ({"grid": [1], "step": 1}, "step does not apply to grid"),
        ({"loguniform": [1, 2], "step": 1}, "step does not apply to loguniform"),
        ({"uniform": [0, 1], "step": 0}, "greater than 0"),
    ],
)
def test_what_is_not_a_dimension_says_why(given, message):
    with pytest.raises(ValidationError, match=message):
        dimension(**given)
