"""Reading histories as they grow, are mended, replaced and torn."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sweeps.tracking.source import Tail, read_plan, read_record, replicates, trials
from tests.sweeps.tracking.recorded import SweepOnDisk


def line(epoch: int, time: int = 0) -> str:
    return json.dumps({"epoch": epoch, "time": time, "train_loss": 1.0}) + "\n"


def test_tail_gives_what_was_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    tail = Tail(path)
    assert tail.rows() == []
    assert not tail.has_grown()
    path.write_text(line(1) + line(2))
    assert tail.has_grown()
    assert [row["epoch"] for row in tail.rows()] == [1, 2]
    assert [row["epoch"] for row in tail.rows()] == [1, 2], "looking takes nothing"
    tail.take(2)
    assert not tail.has_grown()
    with path.open("a") as file:
        file.write(line(3))
    assert [row["epoch"] for row in tail.rows()] == [3]


def test_file_that_was_replaced_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(line(1) + line(2))
    tail = Tail(path)
    tail.rows()
    tail.take(2)
    mended = tmp_path / "mended"
    mended.write_text(line(1) + line(2) + line(3))
    mended.replace(path)
    assert tail.has_grown()
    assert [row["epoch"] for row in tail.rows()] == [3]


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(0, 40))
def test_each_epoch_comes_once_in_order_whatever_the_file_holds(epochs: list[int], torn: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.jsonl"
        path.write_text("".join(line(e, time=i) for i, e in enumerate(epochs)) + "not JSON\n" + line(99)[:torn])
        found = [row["epoch"] for row in Tail(path).rows()]
    assert found == sorted(set(found))
    assert set(found) <= set(epochs)
    assert not epochs or found[0] == epochs[0]


def test_folders_and_plan_of_a_sweep(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, seeds=2)
    sweep.finish()
    trial = next(trials(sweep.folder))
    (trial / "checkpoint").mkdir()
    assert len(list(trials(sweep.folder))) == len(sweep.trials)
    assert len(list(replicates(trial))) == 2
    assert read_plan(sweep.folder).metric == "validation_accuracy"
    assert read_plan(tmp_path / "nowhere").trials == {}


def test_torn_record_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    (tmp_path / "record.json").write_text('{"format": 1, "sta')
    assert read_record(tmp_path) is None
