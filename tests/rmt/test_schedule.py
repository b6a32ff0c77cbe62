from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt.errors import InvalidOption
from rmt.schedule import Schedule


@given(every=st.integers(1, 30), epochs=st.integers(1, 100), aggressiveness=st.floats(0, 1))
def test_strength_grows_to_the_aggressiveness(every: int, epochs: int, aggressiveness: float) -> None:
    schedule = Schedule(every, epochs)
    due = schedule.epochs_due
    assert all(epoch % every == 0 and epoch < epochs for epoch in due)
    strengths = [schedule.strength(epoch, aggressiveness) for epoch in due]
    assert strengths == sorted(strengths)
    if due:
        assert strengths[-1] == aggressiveness
        assert all(0 <= strength <= 1 for strength in strengths)
    else:
        assert schedule.strength(1, aggressiveness) == 0


@given(epoch=st.integers(0, 500), horizon=st.integers(1, 1000))
def test_horizon_is_the_published_schedule(epoch: int, horizon: int) -> None:
    keep = 1 - Schedule(4, 501).strength(epoch, 1.0, horizon)
    assert keep == pytest.approx(max(0.0, 1 - epoch / horizon), abs=1e-12)


@given(every=st.integers(1, 30), epochs=st.integers(1, 100), start=st.integers(1, 100))
def test_a_start_moves_the_cuts_and_the_ramp_with_them(every: int, epochs: int, start: int) -> None:
    moved = Schedule(every, epochs, start)
    like = Schedule(every, max(1, epochs - start + every))
    assert [epoch - start + every for epoch in moved.epochs_due] == list(like.epochs_due)
    assert [moved.progress(e) for e in moved.epochs_due] == [like.progress(e) for e in like.epochs_due]
    assert Schedule(every, epochs, every).epochs_due == Schedule(every, epochs).epochs_due


@pytest.mark.parametrize(("every", "epochs", "start"), [(0, 5, None), (-1, 5, None), (1, 0, None), (1, 5, 0)])
def test_impossible_schedules_are_refused(every: int, epochs: int, start: int | None) -> None:
    with pytest.raises(InvalidOption, match="must be at least 1"):
        Schedule(every, epochs, start)


def test_shapes_are_shares_of_the_aggressiveness() -> None:
    constant = Schedule(2, 9, shape="constant")
    assert [constant.strength(epoch, 0.6) for epoch in (1, 2, 8)] == [0.0, 0.6, 0.6]
    published = Schedule(2, 9, shape=lambda epoch: max(0.0, 1 - epoch / 200))
    assert [published.strength(epoch, 1.0) for epoch in (2, 8)] == pytest.approx([0.01, 0.04])
