"""Every trial of a table on its own: statistics over its seeds, and how often its networks broke."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from sweeps.statistics.cells import Cell, cells, numbers, require
from sweeps.statistics.comparing import mode_of
from sweeps.statistics.failures import failure_rate
from sweeps.statistics.finding import Finding
from sweeps.statistics.groups import DEAD_COLUMN, resolution_of
from sweeps.statistics.improvement import Mode
from sweeps.statistics.registered import STATISTICS
from sweeps.statistics.repeats import each_once
from sweeps.statistics.samples import Array
from sweeps.statistics.tables import finding_frame
from sweeps.status import Status
from sweeps.units import SOURCES, averaged, crossed_with

PER_TRIAL = ("mean", "sd", "collapse")


@dataclass
class Trial:
    """Replicates of one trial, an entry each in every list; `dead` is None where that is not recorded."""

    seeds: list[dict[str, Cell]] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    dead: list[bool | None] = field(default_factory=list)

    def units(self) -> tuple[list[Cell], list[Cell]]:
        """Which unit each replicate belongs to, and which cell of it it is; see `sweeps.units`."""
        crossing = crossed_with(self.seeds)
        if crossing is None:
            return list(range(len(self.seeds))), [None] * len(self.seeds)
        unit, others = crossing
        return [one[unit] for one in self.seeds], [tuple(one.get(name) for name in others) for one in self.seeds]

    def sample(self) -> Array:
        """One value a unit, of the replicates that finished with one."""
        units, others = self.units()
        usable = [
            place
            for place, (status, value) in enumerate(zip(self.statuses, self.values, strict=True))
            if status == Status.FINISHED and np.isfinite(value)
        ]
        kept = [[column[place] for place in usable] for column in (self.values, units, others)]
        return np.array(list(averaged(*kept).values()), dtype=np.float64)  # type: ignore[arg-type]

    def broken(self) -> Broken:
        """How many of its units broke; a unit did if one of its replicates did."""
        units, _ = self.units()
        ended = list(zip(units, self.statuses, self.dead, strict=True))
        finished = {unit for unit, status, _ in ended if status == Status.FINISHED}
        diverged = {unit for unit, status, _ in ended if status == Status.DIVERGED}
        dead = {unit for unit, status, gone in ended if status == Status.FINISHED and gone}
        return Broken(
            len(diverged), len(finished | diverged), None if None in self.dead else len(dead), len(finished)
        )


class Broken(NamedTuple):
    """Units that broke, and those that could have.

    Attributes:
        diverged: Units with a replicate that diverged.
        settled: Units with one that finished or diverged.
        dead: Units with a network that never predicts some class; None where that is not recorded.
        finished: Units with a replicate that finished.
    """

    diverged: int
    settled: int
    dead: int | None
    finished: int

    def rates(self, level: float) -> list[Finding]:
        """Rates of diverged units and, where it is recorded, of dead ones, with exact intervals."""
        of_all = failure_rate(self.diverged, self.settled, level=level, event="diverged")
        found = [replace(of_all, statistic="divergence_rate")]
        if self.dead is not None:
            of_finished = failure_rate(self.dead, self.finished, level=level, event="died")
            found.append(replace(of_finished, statistic="dead_rate"))
        return found


def broken_in(table: pd.DataFrame, *, trial: str = "trial_id") -> Broken:
    """Units that broke over all trials of a table."""
    counts = [one.broken() for one in _trials(each_once(table), None, trial).values()]
    known = [one.dead for one in counts if one.dead is not None]
    return Broken(
        sum(one.diverged for one in counts),
        sum(one.settled for one in counts),
        sum(known) if len(known) == len(counts) else None,
        sum(one.finished for one in counts),
    )


def describe_trials(
    table: pd.DataFrame,
    *,
    metric: str = "validation_accuracy",
    statistics: Sequence[str] = PER_TRIAL,
    trial: str = "trial_id",
    level: float = 0.95,
    mode: Mode | None = None,
) -> pd.DataFrame:
    """Statistics of each trial over its finished seeds, and the rates at which seeds diverged and networks died.

    Where sources of chance are crossed, a seed is one initialisation averaged over the rest, as in a comparison.

    Args:
        table: A row a replicate.
        metric: Column described.
        statistics: Registered statistics of one sample.
        trial: Column that tells trials apart.
        level: Coverage of the intervals.
        mode: Whether more (`max`) or less (`min`) of the metric is better; by default told from its name.

    Raises:
        UnknownColumn: A name is no column.
        UnknownName: A name is no statistic.
    """
    require(table, [trial, metric])
    entries = [STATISTICS[name] for name in statistics]
    known = {
        "level": level,
        "worse": "low" if (mode or mode_of(metric)) == "max" else "high",
        "resolution": resolution_of(table, metric),
    }
    options = [{name: known[name] for name in entry.options.model_fields if name in known} for entry in entries]
    findings: list[Finding] = []
    labels: list[dict[str, Cell]] = []
    for name, one in _trials(each_once(table), metric, trial).items():
        sample = one.sample()
        found = [entry.function(sample, **chosen) for entry, chosen in zip(entries, options, strict=True)]
        found += one.broken().rates(level)
        findings += found
        labels += [{trial: name}] * len(found)
    return finding_frame(findings, labels)


def _trials(rows: pd.DataFrame, metric: str | None, trial: str) -> dict[Cell, Trial]:
    """Trials in the order in which they appear."""
    columns = {f"seeds.{source}": source for source in SOURCES if f"seeds.{source}" in rows.columns}
    statuses = [str(Status.FINISHED)] * len(rows)
    if "status" in rows.columns:
        statuses = rows["status"].astype(str).tolist()
    dead: list[bool | None] = [None] * len(rows)
    if DEAD_COLUMN in rows.columns:
        dead = (np.nan_to_num(numbers(rows, DEAD_COLUMN)) > 0).tolist()
    found: dict[Cell, Trial] = {}
    keys = zip(cells(rows, [trial]), cells(rows, list(columns)), strict=True)
    values = [math.nan] * len(rows) if metric is None else numbers(rows, metric).tolist()
    outcomes = zip(values, statuses, dead, strict=True)
    for ((name,), seeds), (value, status, gone) in zip(keys, outcomes, strict=True):
        one = found.setdefault(name, Trial())
        one.seeds.append(dict(zip(columns.values(), seeds, strict=True)))
        one.values.append(value)
        one.statuses.append(status)
        one.dead.append(gone)
    return found
