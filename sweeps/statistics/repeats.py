"""Rows of a table that claim to be the same replicate: counted once if they are, refused if they are not."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sweeps.statistics.cells import Cell, cells
from sweeps.statistics.errors import Collision

# What may differ between two rows of one training: when and under which name it was recorded.
BOOKKEEPING = ("sweep", "trial_id", "replicate_id", "role", "twin", "reason", "started", "ended", "wall_seconds")
MEASURED = "measures."
SHOWN = 6


def each_once(table: pd.DataFrame) -> pd.DataFrame:
    """The table with rows that appear twice under one replicate id once.

    Raises:
        Collision: Rows under one id are different replicates; the message names what differs.
    """
    if "replicate_id" not in table.columns:
        return table
    repeated = table[table.duplicated("replicate_id", keep=False)]
    for name, rows in repeated.groupby("replicate_id", sort=False):
        for place in range(1, len(rows)):
            found = differing(rows.iloc[[0, place]])
            if found:
                raise Collision(
                    f"rows under replicate_id {name!r} differ in {_listed(found)}: give each its own id"
                )
    return table.drop_duplicates("replicate_id")


def differing(pair: pd.DataFrame) -> list[str]:
    """Columns in which two rows are not the same, but for bookkeeping and what only one of them measured."""
    names = [str(name) for name in pair.columns if name not in BOOKKEEPING and not str(name).startswith(MEASURED)]
    first, second = cells(pair, names)
    return [
        name
        for name, one, other in zip(names, first, second, strict=True)
        if one != other and ("." in name or None not in (one, other))
    ]


def refuse(pair: pd.DataFrame, metric: str, unit: Sequence[str], values: Sequence[Cell]) -> None:
    """Refuse two rows that take the same place in an arm, unless they are one training recorded twice.

    Raises:
        Collision: The message names the columns that tell the rows apart.
    """
    found = differing(pair)
    if not found:
        return
    place = ", ".join(f"{name} = {value}" for name, value in zip(unit, values, strict=True))
    others = [name for name in found if name != metric]
    if not others:
        raise Collision(f"an arm has {place} twice, with different {metric}: a unit is one row of an arm")
    raise Collision(
        f"an arm has {place} more than once; the rows differ in {_listed(others)}: name in `within` what is "
        "configuration (each value is then a group of its own), or in `unit` what tells replicates apart"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
