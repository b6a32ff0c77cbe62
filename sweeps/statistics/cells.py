"""Cells of a table as values that can be grouped by, ordered and matched with what a person typed."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.statistics.errors import NotNumbers, UnknownColumn

Cell: TypeAlias = Hashable


def cell(value: Any) -> Cell:
    """A value that can be grouped by: missing ones are None, lists and mappings their JSON text."""
    if isinstance(value, (list, tuple, dict, np.ndarray)):
        return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value)
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    plain: Cell = value.item() if isinstance(value, np.generic) else value
    return plain


def order(value: Cell) -> tuple[int, Any]:
    """Sorting key of mixed cells: numbers, then lists of numbers, then text, then missing."""
    if value is None:
        return (3, "")
    if isinstance(value, (int, float)):
        return (0, value)
    numbers = re.fullmatch(r"\[[-+.\deE, ]+\]", str(value))
    return (1, json.loads(str(value))) if numbers else (2, str(value))


def matches(value: Cell, wanted: object) -> bool:
    """Whether a cell is the value asked for, which may come from a command line as text."""
    if value is None:
        return wanted is None
    if isinstance(value, bool):
        return str(value).lower() == str(wanted).lower()
    if value == wanted or str(value) == str(wanted):
        return True
    try:
        return isinstance(value, (int, float)) and float(value) == float(str(wanted))
    except ValueError:
        return False


def cells(table: pd.DataFrame, columns: Sequence[str]) -> list[tuple[Cell, ...]]:
    """The table's rows as tuples of cells, in the order of `columns`."""
    if not columns:
        return [()] * len(table)
    return list(zip(*(_column(table[column]) for column in columns), strict=True))


def _column(values: pd.Series) -> list[Cell]:
    """Cells of a column; of one with a type of its own each distinct value is made a cell once."""
    if values.dtype == object:  # True and 1 are one value to a hash, and lists have none
        return [cell(value) for value in values]
    codes, distinct = pd.factorize(values)
    found = [*(cell(value) for value in distinct), None]  # missing ones have the code -1
    return [found[code] for code in codes.tolist()]


def numbers(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """A column as float64, missing cells NaN.

    Raises:
        UnknownColumn: The table has no such column.
        NotNumbers: It holds something else; the message lists the columns of numbers.
    """
    require(table, [column])
    try:
        return np.asarray(pd.to_numeric(table[column]).to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        kinds = table.select_dtypes("number").columns
        known = ", ".join(name for name in map(str, kinds) if "." not in name)
        example = next((repr(value) for (value,) in cells(table, [column]) if isinstance(value, str)), "a value")
        raise NotNumbers(f"{column} is no metric: it holds {example}; columns of numbers: {known}") from None


def require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Check that the table has the columns.

    Raises:
        UnknownColumn: It lacks one; the message lists those it has.
    """
    for column in columns:
        if column not in table.columns:
            known = ", ".join(map(str, table.columns))
            raise UnknownColumn(f"the table has no column {column!r}; known: {known}")
