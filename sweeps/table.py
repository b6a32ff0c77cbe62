"""The consolidated table of a sweep: a row a replicate, made from its records and kept beside them.

`table.parquet` is a cache. A row is read again when its record has changed, so a table that is deleted, torn or
behind costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from sweeps import records, storage
from sweeps.document import flatten
from sweeps.errors import StorageError
from sweeps.metrics import KNOWN

TABLE = "table.parquet"
_SEEN = "_seen"  # size and time of the record a row was made from
NAMES = ["sweep", "trial_id", "replicate_id", "role", "twin", "status", "reason"]


def of_plan(table: pd.DataFrame, plan: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of trials that a plan has: findings are about it, not about what an earlier plan left behind."""
    return table[table["trial_id"].isin([trial["trial_id"] for trial in plan["trials"]])]


def with_metric(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The table with a column for a metric that a training ends with, where no replicate has ended well yet."""
    return table if metric in table or metric not in KNOWN else table.assign(**{metric: math.nan})


def replicates_of(sweep: Path) -> pd.DataFrame:
    """A row for each recorded replicate of a sweep, in the order of trial and seeds.

    Columns: `sweep, trial_id, replicate_id, role, twin, status, reason`, the seeds as `seeds.*`, every field of
    the configuration under its dotted path (lists as JSON text; a field that makes no difference to the trial is
    missing), every final metric and measure under its own name, `epochs, wall_seconds, started, ended`.
    """
    known = _read(sweep / TABLE)
    rows, fresh = [], False
    for folder in records.folders(sweep):
        path = folder / records.RECORD
        if not path.exists():
            continue
        stat = path.stat()
        seen = f"{stat.st_size}:{stat.st_mtime_ns}"
        row = known.get(folder.name)
        if row is None or row[_SEEN] != seen:
            row, fresh = _row(folder, seen), True
        if row is not None:
            rows.append(row)
    table = of_one_type(pd.DataFrame(rows))
    if fresh or len(rows) != len(known):
        _write(sweep / TABLE, table)
    return _ordered(table)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        table = pd.read_parquet(path)
    except (FileNotFoundError, pa.ArrowException):
        return {}
    if _SEEN not in table:
        return {}
    rows: Iterable[dict[Any, Any]] = table.to_dict("records")
    return {str(row["replicate_id"]): {k: v for k, v in row.items() if not _is_missing(v)} for row in rows}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _write(path: Path, table: pd.DataFrame) -> None:
    """Keep the table for the next question; where that can not be, it is made again."""
    with contextlib.suppress(OSError, pa.ArrowException):
        storage.write_atomically(path, table.to_parquet(None, index=False))


def of_one_type(table: pd.DataFrame) -> pd.DataFrame:
    """Make a column of text and numbers (`off` or 0.1) text throughout, since a table's column has one type."""
    for column in [c for c in table if str(table[c].dtype) == "object"]:
        kinds = {isinstance(value, str) for value in table[column].dropna()}
        if len(kinds) == 2:
            table[column] = table[column].map(str, na_action="ignore")
    return table


def _row(folder: Path, seen: str) -> dict[str, Any] | None:
    try:
        record = records.read_record(folder)
    except StorageError:
        return None
    return None if record is None else {_SEEN: seen, **row_of(record)}


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as one flat row."""
    row = {name: record.get(name) for name in NAMES}
    row |= {f"seeds.{source}": seed for source, seed in record["seeds"].items()}
    row |= configuration(record["config"], pruned=record["role"] == "pruned")
    row |= {**record["metrics"], **record["measures"]}
    row |= {name: record[name] for name in ("epochs", "wall_seconds", "started", "ended")}
    return {name: value for name, value in row.items() if value is not None}


def configuration(config: Mapping[str, Any], *, pruned: bool) -> dict[str, Any]:
    """Leaves of a configuration by dotted path; without pruning only `prune.rule` says anything of `prune`."""
    leaves = {path: value for path, value in flatten(config).items() if value not in ({}, None)}
    if not pruned:
        leaves = {p: v for p, v in leaves.items() if not p.startswith("prune.") or p == "prune.rule"}
    return {path: json.dumps(value) if isinstance(value, list | dict) else value for path, value in leaves.items()}


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    if table.empty:
        return pd.DataFrame(columns=[*NAMES, "seeds.initialisation", "seeds.data_order", "seeds.split"])
    seeds = [column for column in map(str, table) if column.startswith("seeds.")]
    table = table.drop(columns=_SEEN).sort_values(
        ["role", "trial_id", *seeds], ascending=[False, True, *[True] * len(seeds)]
    )
    return table.reset_index(drop=True)
