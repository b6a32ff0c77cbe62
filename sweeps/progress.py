"""What a running sweep has done so far, and when it may be done."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.planned import PlannedTrial
from sweeps.spec import Objective
from sweeps.status import Status


@dataclass
class SweepProgress:
    """Counts of a launch, fed by the runner, read by whoever shows them.

    Attributes:
        trials: Trials that this launch trains.
        replicates: Replicates that this launch trains.
        running: Trials that train now, with the epoch each has done.
        outcomes: How each ended trial ended: `failed`, `diverged` or `stopped` if any replicate did.
        ended: Trials by how they ended.
        done: Replicates that have ended.
        best: Best value of the objective among ended, undiverged trials, and the trial's name.
        why: Why the launch ended before its plan did, if a budget was the reason.
    """

    objective: Objective
    trials: int
    replicates: int
    running: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, Status] = field(default_factory=dict)
    ended: Counter[Status] = field(default_factory=Counter)
    done: int = 0
    best: tuple[float, str] | None = None
    why: str = ""
    since: float = field(default_factory=time.monotonic)

    def expect(self, trials: int, replicates: int) -> None:
        """At least so many are trained by this launch."""
        self.trials, self.replicates = max(self.trials, trials), max(self.replicates, replicates)

    def report(self, trial: PlannedTrial, row: Mapping[str, Any]) -> None:
        """A trial has trained to an epoch."""
        self.running[trial.trial_id] = int(row["epoch"])

    def end(self, trial: PlannedTrial, statuses: Counter[str], row: Mapping[str, Any]) -> None:
        """A trial has ended; said twice, it counts once."""
        self.running.pop(trial.trial_id, None)
        if trial.trial_id in self.outcomes:
            return
        self.done += statuses.total()
        bad = next((s for s in (Status.FAILED, Status.DIVERGED, Status.STOPPED) if statuses[s]), None)
        self.outcomes[trial.trial_id] = outcome = bad or Status.FINISHED
        self.ended[outcome] += 1
        value = row.get(f"{self.objective.metric}.{self.objective.statistic}", math.nan)
        if bad is None and math.isfinite(value) and self._is_better(value):
            self.best = (value, trial.trial_id)

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return True
        return value > self.best[0] if self.objective.mode == "max" else value < self.best[0]

    @property
    def per_minute(self) -> float:
        """Replicates ended per minute of this launch."""
        return 60 * self.done / max(time.monotonic() - self.since, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Time left at the pace so far; None before anything has ended."""
        return None if not self.done else 60 * (self.replicates - self.done) / self.per_minute

    def line(self) -> str:
        """One line for a log."""
        parts = [f"{len(self.outcomes)}/{self.trials} trials", f"{len(self.running)} running"]
        parts += [
            f"{self.ended[s]} {s}" for s in (Status.STOPPED, Status.DIVERGED, Status.FAILED) if self.ended[s]
        ]
        parts.append(f"{self.per_minute:.0f} replicates/min")
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        if self.best is not None:
            name = f"{self.objective.metric} {self.objective.statistic}"
            parts.append(f"best {name} {self.best[0]:.4f} ({self.best[1]})")
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """A time a person reads at a glance.

    >>> duration(75)
    '1 min 15 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
