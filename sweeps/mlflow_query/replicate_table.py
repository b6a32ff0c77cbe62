"""Replicates that have ended, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sweeps.metrics import KNOWN
from sweeps.mlflow_query.runs import REPLICATE, Run, configuration
from sweeps.mlflow_query.store import reading
from sweeps.status import Status
from sweeps.table import of_one_type
from sweeps.tracking.parameters import whole
from sweeps.tracking.source import AT_EPOCH

_FIRST = ("sweep", "trial_id", "replicate_id", "role", "twin", "status", "reason")
_SEEDS = ("seeds.initialisation", "seeds.data_order", "seeds.split")
_LAST = ("epochs", "wall_seconds", "started", "ended")
_METRICS = list(KNOWN)
_ENDED = frozenset(map(str, Status))


def replicates(name: str, uri: str | None = None) -> pd.DataFrame:
    """A row a replicate that has ended, in the order of trial and seeds; complete however many pages there are.

    Args:
        name: Of the sweep.
        uri: MLflow's address; without it `MLFLOW_TRACKING_URI`.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with reading(uri) as store:
        runs = store.many.runs(store.experiment(name), REPLICATE)
        told = (run for run in runs if run.end_time is not None)  # the others' metrics are on their way
        rows = [_row(run) for run in told if run.tags.get("status") in _ENDED]
    return _table(rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame(columns=[*_FIRST, *_SEEDS])
    table = of_one_type(pd.DataFrame(rows))
    order = ["role", "trial_id", *(column for column in _SEEDS if column in table)]
    directions = [False, *[True] * (len(order) - 1)]
    table = table.sort_values(order, ascending=directions).reset_index(drop=True)
    first = [column for column in (*_FIRST, *_SEEDS) if column in table]
    last = [column for column in _LAST if column in table]
    return table[[*first, *sorted(set(map(str, table)) - {*first, *last}, key=_place), *last]]


def _place(column: str) -> tuple[bool, int, str]:
    """Paths of the configuration, then metrics and measures, those that are known in their own order."""
    return "." not in column, _METRICS.index(column) if column in _METRICS else len(_METRICS), column


def _row(run: Run) -> dict[str, Any]:
    tags = run.tags
    row = {
        "sweep": tags["sweep"],
        "trial_id": tags["trial"],
        "replicate_id": run.identity,
        "role": tags.get("role"),
        "twin": tags.get("twin"),
        "status": tags["status"],
        "reason": whole("reason", tags.get("reason", ""), tags),
        **configuration(run),
        **_without_early(run.metrics),
        "epochs": int(tags["epochs"]),
        "started": int(tags["started"]),
        "ended": run.end_time,
    }
    return {column: value for column, value in row.items() if value is not None}


def _without_early(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics without the measures taken on the way, the last of which says nothing of the end."""
    return {name: value for name, value in metrics.items() if not name.startswith(AT_EPOCH)}
