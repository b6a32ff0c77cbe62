"""Seeds added where they are needed: `replicates: {initialisation: 5, until: {interval: 0.002, max: 50}}`.

A trial begins with its first seeds and is looked at when they have ended. While the interval of the objective's
metric is wider than asked, it gets half as many seeds again, up to the most allowed; its twin gets them too, so
that every comparison stays paired by seed. How many seeds a trial has follows from the records alone: a launch
that was interrupted goes on where it was, and planning again gives the same plan.

Whoever looks often and stops at a narrow interval stops too early now and then. So each look uses a higher level
(Bonferroni over the looks that there may be): the interval that ends the looking covers 95 % or more of normal
and mildly skewed means. The ordinary 95 % intervals that reports show of such trials cover less than they say,
92 % and 87 % of these at worst (`benchmarks/sequential.py` measures both).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sweeps import records
from sweeps.errors import StorageError
from sweeps.planned import PlannedTrial
from sweeps.planning import Plan, plan_trial
from sweeps.seeds import Seeds, crossed
from sweeps.spec_replicates import Replicates
from sweeps.status import Status

if TYPE_CHECKING:
    from sweeps.statistics.finding import Finding

LEVEL = 0.95


@dataclass(frozen=True)
class Look:
    """A trial looked at.

    Attributes:
        seeds: Initialisation seeds it had.
        finding: What the look showed; `details["width"]` is that of the interval.
        is_narrow: Whether the interval is no wider than asked.
    """

    seeds: int
    finding: Finding
    is_narrow: bool


def extended(plan: Plan, sweep: Path) -> Plan:
    """The plan with the seeds that its records ask for; the same plan where the spec has no `until`.

    Args:
        plan: As `make_plan` gives it, or extended before.
        sweep: The sweep's folder.
    """
    replicates = plan.spec.replicates
    if replicates.until is None:
        return plan
    from sweeps.statistics.sequential import looks

    sizes = looks(len(replicates.seeds("initialisation")), replicates.until.max)
    wanted = {trial.trial_id: _seeds(trial, sweep, plan, sizes) for trial in plan}
    for trial in plan:
        if trial.twin in wanted:
            wanted[trial.twin] = max(wanted[trial.twin], wanted[trial.trial_id])
    return replace(plan, trials=tuple(_with_seeds(trial, replicates, wanted[trial.trial_id]) for trial in plan))


def _with_seeds(trial: PlannedTrial, replicates: Replicates, count: int) -> PlannedTrial:
    seeds = crossed(replicates.model_copy(update={"initialisation": count}))
    longer = plan_trial(trial.spec, trial.point, trial.fingerprint, seeds)
    return replace(trial, replicates=longer.replicates)


def _seeds(trial: PlannedTrial, sweep: Path, plan: Plan, sizes: list[int]) -> int:
    """Initialisation seeds that a trial's records ask for."""
    *_, last = _looks(trial, sweep, plan, sizes)
    return last


def _looks(trial: PlannedTrial, sweep: Path, plan: Plan, sizes: list[int]) -> Iterator[int]:
    """The sizes up to the one that is narrow enough, has not ended, or is the last."""
    until = plan.spec.replicates.until
    assert until is not None  # noqa: S101 - asked by the caller
    for count in sizes:
        yield count
        seeds = crossed(plan.spec.replicates.model_copy(update={"initialisation": count}))
        values = _values(trial, seeds, sweep, plan.spec.objective.metric)
        if values is None or look(values, until.interval, len(sizes)).is_narrow:
            return


def _values(trial: PlannedTrial, seeds: list[Seeds], sweep: Path, metric: str) -> np.ndarray | None:
    """The metric by initialisation, averaged over what is crossed with it; None unless every replicate has ended.

    A replicate that diverged has no value and is asked for no more; one that was stopped or failed has not ended.
    """
    found: dict[int, list[float]] = {}
    for replicate in plan_trial(trial.spec, trial.point, trial.fingerprint, seeds).replicates:
        try:
            record = records.read_record(records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id))
        except StorageError:
            return None
        if record is None or record["status"] not in (Status.FINISHED, Status.DIVERGED):
            return None
        value = record["metrics"].get(metric)
        if record["status"] == Status.FINISHED and value is not None and np.isfinite(value):
            found.setdefault(replicate.seeds.initialisation, []).append(float(value))
    return np.array([np.mean(values) for values in found.values()])


def look(values: np.ndarray, width: float, count: int) -> Look:
    """Look at a trial's values once of `count` times; fewer than two have no interval, so more are needed."""
    from sweeps.statistics.sequential import seeds_needed

    finding = seeds_needed(values, width=width, level=LEVEL, looks=count)
    if values.size == 0:
        return Look(0, finding, is_narrow=True)  # all diverged: more seeds would too
    narrow = finding.estimate is not None and finding.estimate <= values.size
    return Look(values.size, finding, is_narrow=narrow)


def line(plan: Plan) -> str:
    """What is added where, and how far that is, in a line; empty without `until`."""
    replicates = plan.spec.replicates
    if replicates.until is None:
        return ""
    from sweeps.statistics.sequential import looks

    first = len(replicates.seeds("initialisation"))
    sizes = looks(first, replicates.until.max)
    counts: Mapping[str, int] = {t.trial_id: len({r.seeds.initialisation for r in t.replicates}) for t in plan}
    more = sum(count > first for count in counts.values())
    return (
        f"adaptive: {first} to {replicates.until.max} seeds a trial, until the interval of its "
        f"{plan.spec.objective.metric} is at most {replicates.until.interval:g} wide (looks at "
        f"{', '.join(map(str, sizes))}); {more} of {len(counts)} trials have more than {first} so far"
    )
