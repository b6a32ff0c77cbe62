"""What is wrong between a stopper and the rest of a spec."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sweeps.errors import Problem
from sweeps.metrics import HISTORY, LEVELS, SHARES
from sweeps.seeds import SOURCES

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec


def problems(spec: SweepSpec) -> Iterator[Problem]:
    """Metrics that no epoch reports, statistics and periods that could never stop anything."""
    goal, stopper = spec.stopping_goal, spec.stopper
    assert stopper is not None  # noqa: S101 - a programming error, not an input
    named = "stopper.metric" if stopper.metric else "objective.metric"
    if goal.metric not in HISTORY:
        known = ", ".join(sorted(HISTORY))
        yield Problem(
            named, f"{goal.metric!r} is no metric that each epoch reports, for a stopper; known: {known}"
        )
    elif stopper.metric not in (None, spec.objective.metric) and stopper.mode is None:
        yield Problem("stopper.mode", f"is required with another metric than the objective's, {stopper.metric}")
    allowed = stopper.entry.traits.get("statistics")
    if allowed and goal.statistic not in allowed:
        message = f"{stopper.kind} judges by {', '.join(allowed)}; got {goal.statistic}"
        yield Problem("stopper.statistic", message)
    yield from _out_of_reach(spec)
    yield from _too_few_replicates(spec)
    yield from _too_late(spec)


def _out_of_reach(spec: SweepSpec) -> Iterator[Problem]:
    """A target that a share can not have."""
    goal, stopper = spec.stopping_goal, spec.stopper
    assert stopper is not None  # noqa: S101 - a programming error, not an input
    value = stopper.options.get("value") if stopper.kind == "target" else None
    if value is not None and goal.metric in SHARES and goal.statistic in LEVELS and not 0 <= value <= 1:
        yield Problem("stopper.value", f"{value:g} is no value of {goal.metric}, a share; allowed: 0 to 1")


def _too_few_replicates(spec: SweepSpec) -> Iterator[Problem]:
    stopper, statistic = spec.stopper, spec.stopping_goal.statistic
    assert stopper is not None  # noqa: S101 - a programming error, not an input
    count = math.prod(len(spec.replicates.seeds(source)) for source in SOURCES)
    least = max(stopper.entry.traits.get("least_replicates", 1), 1 if statistic in ("mean", "median") else 2)
    if count < least:
        what = f"a stopper by {statistic}" if least == 2 else f"the stopper {stopper.kind}"
        yield Problem("replicates", f"{what} needs at least {least} replicates of a trial; got {count}")


def _too_late(spec: SweepSpec) -> Iterator[Problem]:
    """Periods that no training of the sweep outlasts."""
    dimension = spec.space.get("training.epochs")
    epochs = max(dimension.ends) if dimension else spec.trial.training.epochs
    assert spec.stopper is not None  # noqa: S101 - a programming error, not an input
    for field in ("grace", "patience"):
        period = spec.stopper.options.get(field)
        if period is not None and period >= epochs:
            message = f"{period} is not below the {epochs} epochs of training: nothing would ever be stopped"
            yield Problem(f"stopper.{field}", f"{message}; allowed: 1 to {epochs - 1}")
