"""The time limit of a trial: what it ends between epochs. In a process of its own, since it may end that, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import records

MINUTES = 0.005
# A trial of hours, whose worker is asked for one epoch after another, as by a driver that judges each of them.
SLOW = """
import sys
from pathlib import Path
from sweeps.watchdog import Watchdog
from tests.sweeps.small_sweeps import open_run, planned
from tests.sweeps.small_trials import trial

run = open_run(Path(sys.argv[1]), planned(trial(training__epochs=10_000)))
watchdog, runs = Watchdog(float(sys.argv[2])), [run]
run.step()
asked = 0
while True:
    watchdog.watch(runs)
    if run.step() is None:
        break
    asked += 1
    watchdog.end_if_over(runs)
watchdog.rest()
print(asked)
"""


@pytest.mark.slow
def test_a_trial_that_is_asked_for_each_epoch_ends_when_they_have_taken_its_time_and_is_saved(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW, tmp_path / "sweep", str(MINUTES)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    told = [record for folder in records.folders(tmp_path / "sweep") if (record := records.read_record(folder))]
    epoch = 1 + int(done.stdout)
    assert [(record["status"], record["reason"]) for record in told] == [
        ("failed", f"limits.trial_minutes: {MINUTES} min were over after epoch {epoch}")
    ] * 2
    assert list((tmp_path / "sweep").glob(f"trials/*/checkpoint/*/epoch-{epoch}.*"))
