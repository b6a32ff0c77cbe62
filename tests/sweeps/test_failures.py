"""Why replicates failed, as the terminal says it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from sweeps.cli import app
from sweeps.failures import MOST_CHARACTERS, Failure, failures, lines
from sweeps.overview import status_of
from tests.sweeps.tracking.recorded import SweepOnDisk

OVER = "limits.trial_minutes: 0.1 min were over after epoch {}"


def test_reasons_are_told_once_the_most_frequent_first_with_the_first_trial(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, points={"training.optimiser.lr": [0.1, 0.2]})
    first, second = (sweep.replicates(number) for number in range(2))
    first[0].finish("failed", reason="ValueError: no\nmore of it")
    first[1].finish("diverged")
    for epoch, replicate in enumerate(
        second, start=1
    ):  # three trials that come to different epochs have one reason
        replicate.finish("failed", reason=OVER.format(epoch))
    found = status_of(sweep.name, tmp_path)["failures"]
    assert found == [
        {"reason": OVER.format(1), "replicates": 3, "trial": sweep.trials[1]["trial_id"]},
        {"reason": "ValueError: no", "replicates": 1, "trial": sweep.trials[0]["trial_id"]},
    ]
    shown = CliRunner().invoke(app, ["status", sweep.name, "--storage", str(tmp_path)]).output
    assert f"failures:\n  3 × {OVER.format(1)} (trial {sweep.trials[1]['trial_id']})\n  1 × ValueError" in shown


def test_without_a_failure_nothing_is_said(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, points={"training.optimiser.lr": [0.1]})
    sweep.replicates(0)[0].finish("diverged")
    assert "failures" not in status_of(sweep.name, tmp_path)


def test_a_reason_of_many_words_is_cut_and_one_of_none_says_so(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, points={"training.optimiser.lr": [0.1]})
    replicates = sweep.replicates(0)
    replicates[0].finish("failed", reason="out of memory " * 100)
    replicates[1].finish("failed", reason="\n")
    long, none = failures(sweep.folder, ((one.trial["trial_id"], one.replicate_id) for one in replicates))
    assert MOST_CHARACTERS - 10 < len(long.reason) <= MOST_CHARACTERS
    assert none.reason == "no reason is recorded"


def test_five_reasons_are_told_and_the_others_counted() -> None:
    found = [Failure(word * 3, 2, "abc") for word in "pqrstu"]
    assert list(lines(found[:5])) == [f"2 × {word * 3} (trial abc)" for word in "pqrst"]
    assert list(lines(found))[5:] == ["and 1 more reason"]
