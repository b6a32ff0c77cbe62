from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.report.scales import Linear, Log, Rows

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(NUMBERS, min_size=1))
def test_a_linear_scale_shows_every_value_and_has_ticks_inside_its_ends(values: list[float]) -> None:
    scale = Linear.over(values)
    assert all(-1e-9 <= scale.at(value) <= 1 + 1e-9 for value in values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 12
    assert all(-1e-6 <= scale.at(tick.value) <= 1 + 1e-6 for tick in ticks)


def test_ticks_are_round_numbers_with_the_digits_they_need() -> None:
    assert [tick.label for tick in Linear(0.918, 0.957, 5).ticks()] == ["0.92", "0.93", "0.94", "0.95"]
    assert [tick.label for tick in Linear(-0.004, 0.004, 4).ticks()] == [
        "−0.004", "−0.002", "0.000", "0.002", "0.004",
    ]  # fmt: skip


def test_a_margin_never_passes_what_a_value_can_be() -> None:
    scale = Linear.over([0.99, 1.0], within=(0.0, 1.0))
    assert scale.high == 1.0
    assert Linear.over([1.02], within=(0.0, 1.0)).high >= 1.02


def test_equal_values_and_no_values_still_give_a_range() -> None:
    assert Linear.over([0.5, 0.5], least=0.1).ticks()
    assert Linear.over([math.nan]).ticks()


@given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_a_logarithmic_scale_shows_every_value(values: list[float]) -> None:
    scale = Log.over(values)
    assert all(-1e-9 <= scale.at(value) <= 1 + 1e-9 for value in values)
    assert scale.ticks()


def test_equal_ratios_are_equal_distances() -> None:
    scale = Log(0.1, 10.0)
    assert scale.at(1.0) == pytest.approx(0.5)
    assert [tick.label for tick in scale.ticks()] == ["0.1", "0.2", "0.5", "1", "2", "5", "10"]


def test_rows_have_equal_slots_and_skip_empty_labels() -> None:
    rows = Rows(["a", "", "c", "d"])
    assert rows.at(0) == pytest.approx(0.125)
    assert [tick.label for tick in rows.ticks()] == ["a", "c", "d"]
