"""What `--retry` chooses, sets aside and keeps, on records without Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeps import launches, records, retry
from sweeps.overview import log_of
from sweeps.planning import Plan, make_plan
from sweeps.spec import build_spec
from sweeps.status import TIME_OVER, Retry
from sweeps.trainable import pending
from tests.sweeps.small_trials import digits

ENDS = [
    ("finished", ""),
    ("failed", "ArithmeticError: no"),
    ("failed", f"{TIME_OVER}: 0.2 min were over after epoch 3"),
    ("diverged", "the loss is not finite"),
]


@pytest.fixture
def plan() -> Plan:
    """One trial, five replicates."""
    spec = build_spec({"name": "r", "trial": {"prune": {"rule": "none"}}, "replicates": {"initialisation": 5}})
    return make_plan(spec, lambda data: digits().fingerprint)


def end(sweep: Path, plan: Plan, place: int, status: str, reason: str, **fields: Any) -> Path:
    [trial] = plan
    folder = records.replicate_folder(sweep, trial.trial_id, trial.replicates[place].replicate_id)
    records.Recorder(folder).finish(
        {"status": status, "reason": reason, "seeds": {}, "ended": 5, "metrics": {}} | fields, {}
    )
    return folder


@pytest.mark.parametrize(
    ("which", "expected"),
    [(Retry.FAILED, [1, 2]), (Retry.TIMED_OUT, [2]), (Retry.DIVERGED, [3]), (Retry.ALL, [1, 2, 3])],
)
def test_only_what_ended_so_is_trained_and_the_new_is_left(
    tmp_path: Path, plan: Plan, which: Retry, expected: list[int]
):
    for place, (status, reason) in enumerate(ENDS):
        end(tmp_path, plan, place, status, reason)
    [trial] = plan
    names = [replicate.replicate_id for replicate in trial.replicates]
    for _ in range(2):  # a launch that was killed after it had begun asks for the same again
        progress = retry.begin(plan, tmp_path, which)
        wanted = [names.index(one.replicate_id) for one in progress.to_train(trial)]
        told = [names.index(one.replicate_id) for one in pending(tmp_path, trial, since=9, only=progress.only)]
        assert wanted == told == expected
    assert progress.states[names[0]] == "finished"
    assert len(list(tmp_path.glob("trials/*/*/attempts/*.json"))) == len(expected)


def test_what_has_not_begun_is_left_where_nothing_has_finished_either(tmp_path: Path, plan: Plan):
    end(tmp_path, plan, 0, "failed", "lost")
    [trial] = plan
    assert retry.begin(plan, tmp_path, Retry.FAILED).to_train(trial) == [trial.replicates[0]]


def test_every_earlier_attempt_is_kept_with_its_traceback_whatever_replaced_it(tmp_path: Path, plan: Plan):
    folder = end(tmp_path, plan, 0, "failed", "ArithmeticError: first", traceback="Traceback one")
    end(tmp_path, plan, 0, "failed", "ArithmeticError: second", traceback="Traceback two")  # an ordinary launch
    retry.begin(plan, tmp_path, Retry.FAILED)
    assert not (folder / "record.json").exists()
    end(tmp_path, plan, 0, "finished", "")
    assert [one["traceback"] for one in records.attempts(folder)] == ["Traceback one", "Traceback two"]
    assert records.read_record(folder) is not None
    (tmp_path / "spec.yaml").write_text("name: r\n")
    told = log_of(tmp_path.name, plan.trials[0].trial_id, tmp_path.parent)
    assert "attempt 1: failed, ArithmeticError: first\nTraceback one" in told
    assert "attempt 2: failed, ArithmeticError: second\nTraceback two" in told


def test_a_crash_between_keeping_and_removing_keeps_an_attempt_once(tmp_path: Path, plan: Plan):
    folder = end(tmp_path, plan, 0, "failed", "lost")
    content = (folder / "record.json").read_bytes()
    retry.begin(plan, tmp_path, Retry.FAILED)
    (folder / "record.json").write_bytes(content)
    retry.begin(plan, tmp_path, Retry.FAILED)
    assert len(records.attempts(folder)) == 1


def test_states_saved_after_a_divergence_are_not_gone_on_from(tmp_path: Path, plan: Plan):
    folder = end(tmp_path, plan, 0, "diverged", "the loss is not finite")
    saved = folder.parent / records.CHECKPOINT / "digest"
    saved.mkdir(parents=True)
    (saved / "epoch-3.json").write_text(json.dumps({}))
    retry.begin(plan, tmp_path, Retry.FAILED)
    assert saved.exists()
    retry.begin(plan, tmp_path, Retry.DIVERGED)
    assert not saved.exists()


def test_what_was_tried_counts_whoever_wrote_that_it_failed(tmp_path: Path, plan: Plan):
    """A worker that was killed as it hung, say: the one after it finds the record, and has nothing to train."""
    reason = f"{TIME_OVER}: it hangs"
    for place in (0, 1):
        end(tmp_path, plan, place, "failed", reason)
    before = retry.begin(plan, tmp_path, Retry.TIMED_OUT)
    entry = launches.begin(tmp_path, plan, before)
    end(tmp_path, plan, 0, "failed", reason, ended=entry["started"] + 1, started=entry["started"], epochs=0)
    assert launches.end(tmp_path, entry, plan, before, complete=False, why="", wall_seconds=1.0) == 1


def test_an_unknown_state_is_refused_before_anything_starts(tmp_path: Path):
    from sweeps import run

    with pytest.raises(
        ValueError, match="retry: 'stopped' is not a way to end; allowed: failed, timed_out, diverged, all"
    ):
        run({"name": "r"}, storage=tmp_path / "none", retry="stopped")
    assert not (tmp_path / "none").exists()
