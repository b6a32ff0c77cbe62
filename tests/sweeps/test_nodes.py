"""Which nodes are avoided, from what happened to their workers; without Ray."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sweeps import nodes
from sweeps.errors import SpecError
from sweeps.nodes import Node, Nodes
from sweeps.spec import build_spec

ONE, OTHER = Node("1" * 56, "one"), Node("2" * 56, "other")


def test_trials_in_a_row_count_and_a_trial_counts_once(tmp_path: Path):
    seen = Nodes(tmp_path, 3)
    assert not any(seen.lose(ONE, "a", "killed") for _ in range(9))
    assert not seen.lose(ONE, "b", "killed")
    seen.succeed(OTHER.name)
    assert not seen.lose(OTHER, "c", "killed")
    assert seen.lose(ONE, "c", "killed")


def test_a_trial_that_ends_in_order_begins_the_row_anew(tmp_path: Path):
    seen = Nodes(tmp_path, 2)
    assert not seen.lose(ONE, "a", "killed")
    seen.succeed(ONE.name)
    assert not seen.lose(ONE, "b", "killed")
    assert seen.lose(ONE, "c", "killed")


def test_avoided_nodes_stay_so_in_later_launches_until_that_is_lifted(tmp_path: Path):
    first = Nodes(tmp_path, 1)
    assert first.lose(ONE, "a", "killed")
    first.avoid(ONE)
    assert not first.lose(ONE, "b", "killed")  # it is avoided already
    assert Nodes(tmp_path, 1).avoided == {ONE.name}
    assert Nodes(tmp_path, None).avoided == set()
    [workers, node] = nodes.told(tmp_path)
    assert workers.startswith("Workers were lost 2 times over all launches, and their trials begun again")
    assert node.startswith(
        "Node 111111111111 (one) is avoided: the workers of 1 trial in a row were lost there (a;"
    )
    Nodes(tmp_path, 1).lift()
    assert Nodes(tmp_path, 1).avoided == set()
    assert len(nodes.told(tmp_path)) == 1


def test_a_launch_tells_of_the_workers_that_it_has_lost_itself(tmp_path: Path):
    Nodes(tmp_path, 1).lose(ONE, "a", "killed")
    started = nodes.read(tmp_path)[0]["time"] + 1
    assert nodes.told(tmp_path, started) == []
    while time.time() * 1000 < started + 1:  # the log counts whole milliseconds
        time.sleep(0.001)
    later = Nodes(tmp_path, 1)
    later.lose(OTHER, "b", "killed")
    later.avoid(OTHER)
    workers, node = nodes.told(tmp_path, started)
    assert workers.startswith("Workers were lost once, and")
    assert workers.endswith(": 1 on 222222222222 (other).")
    assert nodes.told(tmp_path, started + 60_000) == [node], "avoided by an earlier launch, it is avoided still"


def test_without_a_limit_no_node_is_avoided(tmp_path: Path):
    seen = Nodes(tmp_path, None)
    assert not any(seen.lose(ONE, str(number), "killed") for number in range(20))


def test_a_torn_line_is_left_out(tmp_path: Path):
    Nodes(tmp_path, 1).lose(ONE, "a", "killed")
    with (tmp_path / nodes.FILE).open("a") as file:
        file.write('{"event": "lost", "no')
    assert [event["trial"] for event in nodes.read(tmp_path)] == ["a"]
    assert nodes.told(tmp_path / "elsewhere") == []


def test_a_limit_of_no_trial_is_refused():
    with pytest.raises(SpecError, match=r"limits\.node_failures"):
        build_spec({"name": "n", "limits": {"node_failures": 0}})
