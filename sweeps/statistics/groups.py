"""A table of replicates, arranged to compare arms: groups, their arms, and the metric by unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd

from sweeps.statistics.cells import Cell, cells, matches, numbers, order, require
from sweeps.statistics.columns import Columns
from sweeps.statistics.repeats import each_once, refuse
from sweeps.status import Status
from sweeps.units import averaged

Key: TypeAlias = tuple[tuple[Cell, ...], tuple[Cell, ...]]  # unit, averaged columns
Outcome: TypeAlias = tuple[str, float, bool]  # status, metric, whether the network is dead

# A network that never predicts some class is dead whatever its accuracy.
DEAD_COLUMN = "classes_never_predicted"
# A replicate that finished without the metric.
MISSING = "missing"


@dataclass(frozen=True)
class Counts:
    """Replicates by how they ended; `missing` ones finished without the metric."""

    finished: int = 0
    diverged: int = 0
    failed: int = 0
    stopped: int = 0
    missing: int = 0


@dataclass
class Arm:
    """One arm of one group.

    Attributes:
        settings: The factor and the arm columns with their values.
        values: Metric of the finished replicates by unit and averaged columns.
        replicates: Their replicate ids, where the table has any.
        dead: Those among them that never predict some class; None where that is not recorded.
        resolution: Step in which the metric is measured, as far as the table shows: its smallest difference.
        settled: Units with a replicate that finished or diverged; `diverged`: those with one that diverged.
        counts: All replicates by how they ended.
    """

    settings: Mapping[str, Cell]
    values: dict[Key, float] = field(default_factory=dict)
    replicates: dict[Key, str] = field(default_factory=dict)
    dead: set[Key] | None = None
    settled: set[tuple[Cell, ...]] = field(default_factory=set)
    diverged: set[tuple[Cell, ...]] = field(default_factory=set)
    statuses: list[str] = field(default_factory=list)
    resolution: float = 0.0

    @property
    def counts(self) -> Counts:
        """All replicates by how they ended."""
        return Counts(**{name: self.statuses.count(name) for name in Counts.__dataclass_fields__})

    def units(self, keys: Iterable[Key] | None = None) -> dict[tuple[Cell, ...], float]:
        """Metric by unit, averaged over the rest (see `sweeps.units`); over some keys only if given."""
        chosen = list(self.values if keys is None else keys)
        values = [self.values[key] for key in chosen]
        return averaged(values, [unit for unit, _ in chosen], [cell for _, cell in chosen])

    def dead_units(self) -> set[tuple[Cell, ...]]:
        """Units with a dead replicate."""
        return {unit for unit, _ in self.dead or ()}


@dataclass(frozen=True)
class Group:
    """Arms to be compared with one another: everything else about them is equal."""

    settings: Mapping[str, Cell]
    baselines: tuple[Arm, ...]
    arms: tuple[Arm, ...]


def arrange(table: pd.DataFrame, columns: Columns, baseline: object, metric: str) -> list[Group]:
    """Groups in order, each with its arms; rows that appear twice under one replicate id count once.

    Raises:
        UnknownColumn: The metric is no column.
        Collision: Rows would take each other's place.
    """
    require(table, [metric])
    table = each_once(table)
    groups: dict[tuple[Cell, ...], dict[tuple[Cell, ...], Arm]] = {}
    names = (columns.factor, *columns.arm)
    keys = zip(cells(table, columns.unit), cells(table, columns.averaged), strict=True)
    rows = zip(cells(table, columns.group), cells(table, names), keys, _outcomes(table, metric), strict=True)
    names_of = table["replicate_id"].astype(str).tolist() if "replicate_id" in table.columns else None
    step, knows_dead = resolution_of(table, metric), DEAD_COLUMN in table.columns
    taken: dict[tuple[object, ...], int] = {}
    for row, (group, settings, key, (status, value, dead)) in enumerate(rows):
        fresh = Arm(dict(zip(names, settings, strict=True)), dead=set() if knows_dead else None, resolution=step)
        arm = groups.setdefault(group, {}).setdefault(settings, fresh)
        first = taken.setdefault((group, settings, key), row) if columns.unit else row
        if first != row:
            refuse(table.iloc[[first, row]], metric, columns.unit, key[0])
            continue
        arm.statuses.append(status)
        place = key if columns.unit else ((row,), key[1])
        if status in (Status.FINISHED, Status.DIVERGED, MISSING):
            arm.settled.add(place[0])
        if status == Status.DIVERGED:
            arm.diverged.add(place[0])
        if status == Status.FINISHED:
            arm.values[place] = value
            if names_of is not None:
                arm.replicates[place] = names_of[row]
            if dead and arm.dead is not None:
                arm.dead.add(place)
    ordered = sorted(groups.items(), key=lambda item: [order(value) for value in item[0]])
    return [_group(dict(zip(columns.group, key, strict=True)), arms, baseline) for key, arms in ordered]


def resolution_of(table: pd.DataFrame, metric: str) -> float:
    """Step in which a metric is measured, as far as the table shows: its smallest difference."""
    values = numbers(table, metric)
    steps = np.diff(np.unique(values[np.isfinite(values)].round(12)))
    return float(steps.min()) if steps.size else 0.0


def _group(settings: Mapping[str, Cell], arms: Mapping[tuple[Cell, ...], Arm], baseline: object) -> Group:
    ordered = [arms[key] for key in sorted(arms, key=lambda key: [order(value) for value in key])]
    is_baseline = [matches(next(iter(arm.settings.values())), baseline) for arm in ordered]
    chosen = list(zip(ordered, is_baseline, strict=True))
    return Group(settings, tuple(a for a, base in chosen if base), tuple(a for a, base in chosen if not base))


def _outcomes(table: pd.DataFrame, metric: str) -> list[Outcome]:
    """One outcome a row; the status is `MISSING` where a finished replicate has no finite metric."""
    values = numbers(table, metric)
    unknown = [str(Status.FINISHED)] * len(table)
    statuses = [str(value) for value in table["status"]] if "status" in table.columns else unknown
    dead = np.zeros(len(table), dtype=bool)
    if DEAD_COLUMN in table.columns:
        dead = pd.to_numeric(table[DEAD_COLUMN]).to_numpy(dtype=float, na_value=0.0) > 0
    found = zip(statuses, values, dead, strict=True)
    return [
        (MISSING if s == Status.FINISHED and not np.isfinite(value) else s, float(value), bool(gone))
        for s, value, gone in found
    ]
