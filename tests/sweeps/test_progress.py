from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.progress import SweepProgress, duration
from sweeps.spec import Objective


def trial(name: str) -> Any:
    return SimpleNamespace(trial_id=name)


def ended(progress, name, value, **statuses):
    progress.end(trial(name), Counter(statuses), {"validation_accuracy.mean": value})


def test_it_counts_and_keeps_the_best_sound_trial():
    progress = SweepProgress(Objective(), trials=4, replicates=20)
    progress.report(trial("a"), {"epoch": 3})
    assert progress.running == {"a": 3}
    ended(progress, "a", 0.9, finished=5)
    ended(progress, "b", 0.95, finished=4, diverged=1)
    ended(progress, "c", 0.8, finished=5)
    assert progress.running == {}
    assert progress.best == (0.9, "a")
    assert progress.ended == {"finished": 2, "diverged": 1}
    assert progress.done == 15
    line = progress.line()
    assert line.startswith("3/4 trials · 0 running · 1 diverged · ")
    assert "best validation_accuracy mean 0.9000 (a)" in line


def test_a_minimised_objective_prefers_the_lower():
    progress = SweepProgress(Objective(mode="min"), trials=2, replicates=2)
    ended(progress, "a", 0.3, finished=1)
    ended(progress, "b", 0.2, finished=1)
    assert progress.best == (0.2, "b")


def test_time_left_follows_the_pace():
    progress = SweepProgress(Objective(), trials=4, replicates=4)
    assert progress.seconds_left is None
    progress.since -= 30
    ended(progress, "a", 0.9, finished=1)
    assert progress.seconds_left == pytest.approx(90, rel=0.01)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")])
def test_durations_read_at_a_glance(seconds, text):
    assert duration(seconds) == text
