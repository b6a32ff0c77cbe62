"""What MLflow must show of the sweep that faults are done to, in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.end_to_end.faults import Driver, History, assert_nothing_was_lost
from tests.sweeps.tracking.seen import Seen


def assert_everything_is_there_once(uri: str, run: Driver, expected: Mapping[str, History]) -> None:
    """Every record is whole, and MLflow shows a run of each, in which nothing is told twice."""
    assert_each_epoch_is_there_once(uri, run, expected)
    seen = Seen(uri)
    for one in seen.level(run.name, "replicate").values():
        rows = seen.rows(one)
        assert len(rows) == len({(name, step) for name, step, *_ in rows})


def assert_each_epoch_is_there_once(uri: str, run: Driver, expected: Mapping[str, History]) -> None:
    """Every record is whole, and MLflow shows a run of each; one made again may tell its end again."""
    assert_nothing_was_lost(run.folder, expected)
    seen = Seen(uri)
    assert Counter(one.data.tags["level"] for one in seen.runs(run.name)) == {
        "sweep": 1,
        "trial": 2,
        "replicate": 4,
    }
    assert {one.info.status for one in seen.runs(run.name)} == {"FINISHED"}
    replicates = seen.level(run.name, "replicate")
    assert set(replicates) == set(expected)
    for identity, one in replicates.items():
        told = [(step, value) for name, step, _, value in seen.rows(one) if name == "validation_accuracy"]
        assert told == [(row["epoch"], repr(row["validation_accuracy"])) for row in expected[identity]]
