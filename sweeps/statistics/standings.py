"""Arms of a comparison ranked over the seeds that all of them finished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeps.statistics.cells import Cell
from sweeps.statistics.comparison import label_of
from sweeps.statistics.finding import Finding
from sweeps.statistics.groups import Group
from sweeps.statistics.improvement import Mode
from sweeps.statistics.ranking import ranking


def rank_groups(groups: Sequence[Group], mode: Mode, level: float) -> tuple[Finding, ...]:
    """Mean ranks of all arms, best first; a block is a seed of a group that every arm finished.

    Seeds of one group share its configuration, so blocks are independent only given it.
    """
    every = [(*group.baselines, *group.arms) for group in groups]
    names = {tuple(arm.settings.values()): label_of(arm.settings) for arms in every for arm in arms}
    blocks: list[list[float]] = []
    for arms in every:
        units: dict[tuple[Cell, ...], dict[tuple[Cell, ...], float]] = {
            tuple(arm.settings.values()): arm.units() for arm in arms
        }
        if len(units) == len(names):
            shared = set.intersection(*(set(found) for found in units.values()))
            blocks += [[units[key][unit] for key in names] for unit in sorted(shared, key=str)]
    values = np.array(blocks, dtype=np.float64).reshape(len(blocks), len(names))
    return ranking(values, list(names.values()), mode=mode, level=level)
