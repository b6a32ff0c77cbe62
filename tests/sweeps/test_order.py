"""The order in which packs are handed out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.search import Searcher

from sweeps.order import PlanOrder


def handed(order: PlanOrder, names: list[str]) -> list[object]:
    found = [order.suggest(name) for name in names]
    return [one["position"] if isinstance(one, dict) else one for one in found]


def test_siblings_wait_for_the_epoch_and_other_trials_do_not_wait_for_them() -> None:
    order = PlanOrder([{}, {}, {0: 5}, {1: 2}, {}])
    assert handed(order, ["a", "b", "c", "-"]) == [0, 1, 4, None]
    order.on_trial_result("a", {"epoch": 4})
    order.on_trial_result("b", {"epoch": 2})
    assert handed(order, ["d", "-"]) == [3, None]
    order.on_trial_result("a", {"epoch": 5})
    assert handed(order, ["e", "-"]) == [2, Searcher.FINISHED]


def test_a_twin_that_ends_early_or_fails_holds_nobody_back() -> None:
    order = PlanOrder([{}, {0: 30}, {0: 30}])
    assert handed(order, ["a", "-"]) == [0, None]
    order.on_trial_complete("a", error=True)
    assert handed(order, ["b", "c", "-"]) == [1, 2, Searcher.FINISHED]


def test_a_pack_that_ends_in_an_error_comes_again_in_pieces() -> None:
    order = PlanOrder([{}, {0: 5}], [2, 1])
    assert handed(order, ["a", "-"]) == [0, None]
    order.on_trial_complete("a", error=True)
    found = [order.suggest(name) for name in ("b", "c", "d", "-")]
    assert found == [
        {"position": 0, "alone": 0},
        {"position": 0, "alone": 1},
        {"position": 1},
        Searcher.FINISHED,
    ]
    order.on_trial_complete("b", error=True)
    assert order.suggest("e") == Searcher.FINISHED, "alone it has been tried often enough"


def test_there_may_be_more_until_a_pack_has_ended() -> None:
    order = PlanOrder([{}], [2])
    assert handed(order, ["a", "-"]) == [0, None]
    order.on_trial_complete("a")
    assert order.suggest("b") == Searcher.FINISHED


@settings(max_examples=50)
@given(st.data())
def test_every_trial_is_handed_out_once_whatever_happens(data: st.DataObject) -> None:
    """Waits go one way, as in a plan; trials run side by side, jump epochs, and end at any time."""
    count = data.draw(st.integers(1, 12))
    waits = [
        data.draw(st.dictionaries(st.integers(0, place - 1), st.integers(1, 9), max_size=3)) if place else {}
        for place in range(count)
    ]
    order = PlanOrder(waits)
    running: dict[str, int] = {}
    seen: list[int] = []
    while (found := order.suggest(f"t{len(seen)}")) != Searcher.FINISHED:
        if isinstance(found, dict):
            running[f"t{len(seen)}"] = 0
            seen.append(found["position"])
            continue
        assert running, "nothing trains and everything waits"
        name = data.draw(st.sampled_from(sorted(running)))
        running[name] += data.draw(st.integers(1, 4))
        if data.draw(st.booleans()):
            order.on_trial_result(name, {"epoch": running[name]})
        else:
            del running[name]
            order.on_trial_complete(name, error=data.draw(st.booleans()))
    assert sorted(seen) == list(range(count))
