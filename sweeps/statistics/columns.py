"""What each column of a table of replicates is to a comparison.

Every configuration column that varies is one of:

- the *factor*, whose values are compared;
- an *arm column*: it goes with the factor's values and does not exist for the baseline. A pruned trial's
  `prune.aggressiveness` is one when the baseline is the unpruned twin, which has none; so several arms share
  a twin;
- a *group column*: arms are compared where it is equal. All others are, unless `within` names the groups;
- with `within`, an *averaged column*: what is left is averaged within a unit before anything is compared.

The *unit* is the seed. Where sources of chance are crossed (each initialisation with each data order),
replicates of one initialisation are not independent: the unit is the initialisation, averaged over the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sweeps.statistics.cells import cells, matches, require
from sweeps.statistics.errors import UnknownColumn

SEEDS = ("seeds.initialisation", "seeds.data_order", "seeds.split")
# What is measured does not change what is trained; statistics of trials are no configuration.
NOT_CONFIGURATION = ("seeds.", "measures.")
STATISTIC_ENDINGS = (".mean", ".sd", ".ci_low", ".ci_high")


@dataclass(frozen=True)
class Columns:
    """What each column of the table is to a comparison.

    Attributes:
        factor: The column whose values are compared.
        group: Columns that are equal within a group.
        arm: Columns that go with the factor's values and differ between arms of one value.
        unit: Columns that identify a seed; empty when rows can not be paired.
        averaged: Columns averaged over within a unit.
        fixed: Sources of chance with one seed only: every finding is conditional on them.
        crossed: Sources of chance averaged over within a unit, with their number of seeds: every finding is
            conditional on these few.
        confounded: Columns outside `within` that differ only with the factor: effects that are not told apart.
    """

    factor: str
    group: tuple[str, ...]
    arm: tuple[str, ...]
    unit: tuple[str, ...]
    averaged: tuple[str, ...]
    fixed: tuple[str, ...]
    confounded: tuple[str, ...] = ()
    crossed: tuple[tuple[str, int], ...] = ()


def varying_configuration(table: pd.DataFrame) -> list[str]:
    """Dotted columns with more than one value that are equal among all replicates of a trial."""
    candidates = [
        column
        for column in map(str, table.columns)
        if "." in column and not column.startswith(NOT_CONFIGURATION) and not column.endswith(STATISTIC_ENDINGS)
    ]
    varying = [name for name in candidates if varies(table, name)]
    if "trial_id" not in table.columns:
        return varying
    trials = len(set(table["trial_id"]))
    return [name for name in varying if len(set(cells(table, ["trial_id", name]))) == trials]


def varies(table: pd.DataFrame, column: str) -> bool:
    """Whether a column has more than one value, a missing one counted."""
    try:
        return table[column].nunique(dropna=False) > 1
    except TypeError:  # lists and mappings are not hashable
        return len(set(cells(table, [column]))) > 1


def expand(table: pd.DataFrame, within: Sequence[str]) -> tuple[str, ...]:
    """Column names from names and prefixes: `model` stands for every varying `model.*`.

    Raises:
        UnknownColumn: A name is neither; the message lists the configuration columns that vary.
    """
    found: list[str] = []
    for name in within:
        below = [c for c in varying_configuration(table) if c.startswith(name + ".")]
        if name not in table.columns and not any(str(c).startswith(name + ".") for c in table.columns):
            known = ", ".join(varying_configuration(table)) or "none, since no configuration column varies"
            raise UnknownColumn(f"within: the table has no column {name!r}; known: {known}")
        found += [name] if name in table.columns else below
    return tuple(dict.fromkeys(found))


def without_aliases(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The columns without those that tell apart just what an earlier one does (an option set by a kind)."""
    kept: dict[str, int] = {}
    for name in names:
        levels = len(set(cells(table, [name])))
        if not any(size == levels == len(set(cells(table, [other, name]))) for other, size in kept.items()):
            kept[name] = levels
    return list(kept)


def arm_columns(table: pd.DataFrame, factor: str, baseline: object, candidates: Sequence[str]) -> list[str]:
    """Columns that belong to the arm: those the baseline does not have or, pruning, does not vary."""
    is_baseline = [matches(value, baseline) for (value,) in cells(table, [factor])]
    pruning = factor.startswith("prune.")
    chosen = []
    for column in candidates:
        of_baseline = {v for (v,), base in zip(cells(table, [column]), is_baseline, strict=True) if base}
        of_others = {v for (v,), base in zip(cells(table, [column]), is_baseline, strict=True) if not base}
        absent = bool(of_baseline and of_others) and (of_baseline == {None} or of_others == {None})
        if absent or (pruning and column.startswith("prune.") and len(of_baseline) <= 1):
            chosen.append(column)
    return chosen


def unit_columns(
    table: pd.DataFrame, unit: Sequence[str] | None, trial: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns that identify a unit, and those crossed with it; those in `trial` tell trials apart."""
    if unit is not None:
        require(table, unit)
        return tuple(unit), tuple(c for c in varying_seeds(table) if c not in unit)
    seeds = varying_seeds(table)
    if not seeds:
        return (("seed",) if "seed" in table.columns else _constant_seeds(table)), ()
    first = cells(table, [*trial, seeds[0]])
    crossed = len(set(first)) < len(set(cells(table, [*trial, *seeds])))
    return ((seeds[0],), tuple(seeds[1:])) if crossed else (tuple(seeds), ())


def varying_seeds(table: pd.DataFrame) -> list[str]:
    """Sources of chance with more than one seed in the table."""
    return [c for c in SEEDS if c in table.columns and varies(table, c)]


def _constant_seeds(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(c for c in SEEDS if c in table.columns)


def assign(
    table: pd.DataFrame,
    factor: str,
    baseline: object,
    within: Sequence[str] | None = None,
    unit: Sequence[str] | None = None,
) -> Columns:
    """What each column is to the comparison of the factor's values with the baseline.

    Raises:
        UnknownColumn: The factor or a name in `within` or `unit` is no column.
    """
    require(table, [factor])
    named = None if within is None else tuple(c for c in expand(table, within) if c != factor)
    others = [c for c in varying_configuration(table) if c != factor and c not in (named or ())]
    tied = arm_columns(table, factor, baseline, others)
    values = len(set(cells(table, [factor])))
    arm = [c for c in tied if len(set(cells(table, [factor, c]))) > values]
    rest = without_aliases(table, [c for c in others if c not in tied])
    confounded = [] if named is None else [c for c in rest if len(set(cells(table, [factor, c]))) <= values]
    averaged = () if named is None else tuple(c for c in rest if c not in confounded)
    group = tuple(rest) if named is None else named
    units, crossed = unit_columns(table, unit, [*group, *averaged, *arm, factor])
    fixed = tuple(c for c in SEEDS if c in table.columns and not varies(table, c))
    fixed = fixed if units else ()
    few = tuple((c, len(set(cells(table, [c])))) for c in crossed)
    return Columns(factor, group, tuple(arm), units, (*averaged, *crossed), fixed, tuple(confounded), few)
