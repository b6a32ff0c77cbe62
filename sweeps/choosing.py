"""Choosing from a table of trials: by a condition, by a number, the best of each group, a Pareto front."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.errors import SpecError
from sweeps.expression import Expression, parse
from sweeps.metrics import KNOWN, STATISTICS, better, refuse_test
from sweeps.wording import counted

BROKEN = ("n_diverged", "n_failed")


def condition(text: str, table: pd.DataFrame, *, select_on_test: bool = False) -> Expression:
    """Read a condition over the columns of a table.

    Raises:
        ExpressionError: Not a condition, or a name that is no column; lists the columns.
        SelectionOnTest: It looks at a test metric, without `select_on_test`.
    """
    read = parse(text, [str(column) for column in table])
    for name in sorted(read.names):
        refuse_test(name, select_on_test=select_on_test)
    return read


def those_where(table: pd.DataFrame, holds: Expression) -> pd.DataFrame:
    """Rows for which a condition holds; a cell that is missing is `null`, and lists are lists."""
    names = sorted(holds.names)
    rows = table[names].to_dict("records") if names else [{}] * len(table)
    kept = [holds({str(name): _plain(value) for name, value in row.items()}) for row in rows]
    return table[np.array(kept, dtype=bool)]


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is pd.NA or value != value:
        return None
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def filtered(
    table: pd.DataFrame, where: str | None, what: str, *, select_on_test: bool, left_out: Sequence[str] = ()
) -> pd.DataFrame:
    """Rows for which a condition holds, and in `.attrs["left_out"]` how many `what`s are not among them.

    Args:
        table: To choose from.
        where: The condition; None holds for all.
        what: A row is one.
        select_on_test: Allow it to look at test metrics.
        left_out: What was left out before.

    Raises:
        ExpressionError: Not a condition, or a name that is no column; lists the columns.
        SelectionOnTest: It looks at a test metric, without `select_on_test`.
    """
    said = list(left_out)
    kept = table
    if where is not None and not table.empty:
        kept = those_where(table, condition(where, table, select_on_test=select_on_test))
        if len(kept) < len(table):
            said.append(f"{counted(len(table) - len(kept), what)} for which not: {where}")
        kept = kept.reset_index(drop=True)
    kept.attrs["left_out"] = said
    return kept


def is_broken(table: pd.DataFrame) -> pd.Series:
    """Whether a trial has a replicate that diverged or failed."""
    return sum(table[name] for name in BROKEN) > 0  # type: ignore[return-value]


def rank(table: pd.DataFrame, column: str, mode: str, *, allow_diverged: bool = False) -> pd.DataFrame:
    """Trials in order of a column; one with a diverged or failed replicate comes after all that have none."""
    broken = is_broken(table) & (not allow_diverged)
    ordered = table.assign(_broken=broken).sort_values(
        ["_broken", column, "trial_id"], ascending=[True, mode == "min", True]
    )
    return ordered.drop(columns="_broken")


def groups(table: pd.DataFrame, path: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Rows of a ranked table by the values at a path (`model` is every field of it), in order of their best.

    Raises:
        SpecError: No column is at or below the path; lists the paths.
    """
    paths = [c for c in map(str, table) if _is_path(c)]
    chosen = [c for c in paths if c == path or c.startswith(f"{path}.")]
    if not chosen:
        heads = {c.partition(".")[0] for c in paths if "." in c}
        raise SpecError(f"unknown path {path!r} to group by; known: {', '.join(sorted(heads | set(paths)))}")
    keys = table[chosen].astype(object).where(table[chosen].notna(), None)
    place = keys.map(str).agg("\n".join, axis=1)
    for key in dict.fromkeys(place):
        rows = table[place == key]
        values = keys.loc[rows.index[0]].to_dict()
        yield {str(name): _plain(value) for name, value in values.items() if value is not None}, rows


def _is_path(column: str) -> bool:
    head, dot, last = column.rpartition(".")
    return column == "role" or (bool(dot) and not (last in STATISTICS and head in KNOWN))


def objectives(text: str | Sequence[str]) -> dict[str, str]:
    """Metrics of a Pareto front with their directions: `validation_accuracy,parameters_kept:min`.

    Raises:
        SpecError: Fewer than two, an unknown one, or a direction that is neither `max` nor `min`.
    """
    parts = [part.strip() for part in (text.split(",") if isinstance(text, str) else text)]
    found: dict[str, str] = {}
    for part in parts:
        metric, _, mode = part.partition(":")
        if metric not in KNOWN:
            raise SpecError(f"unknown metric {metric!r}; known: {', '.join(sorted(KNOWN))}")
        if mode not in ("", "max", "min"):
            raise SpecError(f"unknown direction {mode!r} of {metric}; known: max, min")
        found[metric] = mode or better(metric)
    if len(found) < 2:
        raise SpecError(f"a Pareto front is of two metrics or more; got {', '.join(parts) or 'none'}")
    return found


def front(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Trials that no other one equals or beats in every column and beats in one, best in the first column first.

    Args:
        table: A row a trial; every column has a number.
        columns: Direction, `max` or `min`, by column.
    """
    signs = [1.0 if mode == "max" else -1.0 for mode in columns.values()]
    values = table[list(columns)].to_numpy(dtype=float) * signs
    first, mode = next(iter(columns.items()))
    return table[_undominated(values)].sort_values([first, "trial_id"], ascending=[mode == "min", True])


def _undominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(trial,) of (trial, objective), all to be large."""
    kept = np.ones(len(values), dtype=bool)
    for place, row in enumerate(values):
        kept[place] = not ((values >= row).all(axis=1) & (values > row).any(axis=1)).any()
    return kept
