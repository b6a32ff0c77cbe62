"""Answers from MLflow, the only code that reads it: the tables of a sweep on a machine that has no records.

Columns are those of the tables made from the records. A trial's statistics stand on its own run, so the best
trials come from one query on the server, however many replicates there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sweeps.errors import SpecError, SweepNotFound, TrackingError
from sweeps.status import Status
from sweeps.tracking.client import Refused, Unavailable, failures_named, settings, without_password
from sweeps.tracking.parameters import decode, whole
from sweeps.tracking.source import AT_EPOCH
from sweeps.tracking.store import check, database_path, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 2_000
TIES = 20  # more than are asked for, so that equal trials come in the order of their names, as from the records
COUNTS = ("n", "n_diverged", "n_failed", "n_stopped")
_FIRST = ("sweep", "trial_id", "replicate_id", "role", "twin", "status", "reason")
_SEEDS = ("seeds.initialisation", "seeds.data_order", "seeds.split")
_LAST = ("epochs", "wall_seconds", "started", "ended")
_COST = "wall_seconds.sum"


@contextmanager
def _reading(uri: str | None) -> Iterator[MlflowClient]:
    """A client for a store that answers, without MLflow's minutes of retries.

    Raises:
        TrackingError: It does not answer, or holds nothing.
    """
    address = store_uri(Path(), uri)
    path = database_path(address)
    if path is not None and not path.exists():
        raise TrackingError(f"there is no MLflow store at {path}; `sweeps sync NAME` makes it from the records")
    check(address)
    from mlflow import MlflowClient

    try:
        with settings(), failures_named():
            yield MlflowClient(tracking_uri=address)
    except (Unavailable, Refused) as error:
        raise TrackingError(f"{without_password(address)} does not answer: {error}") from None


def experiment(name: str, uri: str | None = None) -> str:
    """Id of a sweep's experiment.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        return _experiment(client, name)


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "active" and "sweep_id" in found.tags:
        return str(found.experiment_id)
    known = sorted(e.name for e in _experiments(client) if "sweep_id" in e.tags)
    raise SweepNotFound(f"no sweep {name!r} in this MLflow; there: {', '.join(known) or 'none'}")


def _experiments(client: MlflowClient) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_experiments(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def replicates(name: str, uri: str | None = None) -> pd.DataFrame:
    """A row a replicate that has ended, in the order of trial and seeds; complete however many pages there are.

    Args:
        name: Of the sweep.
        uri: MLflow's address; without it `MLFLOW_TRACKING_URI`.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        runs = _runs(client, _experiment(client, name), "tags.level = 'replicate'")
        rows = [_replicate(run) for run in runs if run.data.tags.get("status") in set(Status)]
    return _replicate_table(rows)


def _replicate_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame(columns=[*_FIRST, *_SEEDS])
    table = pd.DataFrame(rows)
    order = ["role", "trial_id", *(column for column in _SEEDS if column in table)]
    directions = [False, *[True] * (len(order) - 1)]
    table = table.sort_values(order, ascending=directions).reset_index(drop=True)
    first = [column for column in (*_FIRST, *_SEEDS) if column in table]
    last = [column for column in _LAST if column in table]
    return table[[*first, *(c for c in table if c not in {*first, *last}), *last]]


def _replicate(run: Run) -> dict[str, Any]:
    tags = run.data.tags
    row = {
        "sweep": tags["sweep"],
        "trial_id": tags["trial"],
        "replicate_id": tags["identity"],
        "role": tags.get("role"),
        "twin": tags.get("twin"),
        "status": tags["status"],
        "reason": whole("reason", tags.get("reason", ""), tags),
        **_configuration(run),
        **_without_early(run.data.metrics),
        "epochs": int(tags["epochs"]),
        "started": int(tags["started"]),
        "ended": run.info.end_time,
    }
    return {column: value for column, value in row.items() if value is not None}


def _without_early(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics without the measures taken on the way, the last of which says nothing of the end."""
    return {name: value for name, value in metrics.items() if not name.startswith(AT_EPOCH)}


def _configuration(run: Run) -> dict[str, Any]:
    values = {path: decode(whole(path, text, run.data.tags)) for path, text in run.data.params.items()}
    return {path: json.dumps(v) if isinstance(v, list | dict) else v for path, v in sorted(values.items())}


def trials(name: str, uri: str | None = None) -> pd.DataFrame:
    """A row a trial that has a replicate which has ended.

    Columns: `trial_id, role, twin`, the counts `n, n_diverged, n_failed, n_stopped`, the configuration, and
    `METRIC.mean`, `.sd`; for the objective `.median`; for it, the test accuracy and the parameters kept `.ci_low`
    and `.ci_high`.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        runs = _runs(client, _experiment(client, name), "metrics.n >= 0")
        return _trial_table([_trial(run) for run in runs])


def best(
    name: str,
    uri: str | None = None,
    *,
    metric: str = "validation_accuracy",
    statistic: str = "mean",
    mode: str = "max",
    k: int = 5,
    allow_diverged: bool = False,
) -> pd.DataFrame:
    """The k best trials by a statistic, found by the server; those with a diverged or failed replicate come last.

    Raises:
        SpecError: No trial has that statistic; lists those there are.
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    column = f"{metric}.{statistic}"
    order = [f"metrics.`{column}` {'DESC' if mode == 'max' else 'ASC'}"]
    sign = -1 if mode == "max" else 1

    def ranked(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted((r for r in rows if _has(r, column)), key=lambda r: (sign * r[column], r["trial_id"]))

    # Only trial runs have counts: a condition on the tag `level` would make the database look at every replicate.
    condition = "metrics.n >= 0" if allow_diverged else "metrics.n_diverged = 0 and metrics.n_failed = 0"
    with _reading(uri) as client:
        place = _experiment(client, name)
        page = client.search_runs([place], condition, order_by=order, max_results=k + TIES)
        found = ranked(map(_trial, page))[:k]
        if len(found) < k and not allow_diverged:
            everything = (_trial(run) for run in _runs(client, place, "metrics.n >= 0"))
            broken = ranked(row for row in everything if row["n_diverged"] + row["n_failed"] > 0)
            found += broken[: k - len(found)]
        if not found:
            raise SpecError(_no_statistic(client, place, name, column))
    return _trial_table(found)


def _has(row: Mapping[str, Any], column: str) -> bool:
    return column in row and row[column] == row[column]


def _no_statistic(client: MlflowClient, place: str, name: str, column: str) -> str:
    some = client.search_runs([place], "metrics.n >= 0", max_results=1)
    known = ", ".join(sorted(k for k in some[0].data.metrics if "." in k)) if some else "none yet"
    return f"no trial of {name!r} has {column}; there: {known}"


def _trial(run: Run) -> dict[str, Any]:
    tags, metrics = run.data.tags, run.data.metrics
    row = {
        "trial_id": tags["identity"],
        "role": tags.get("role"),
        "twin": tags.get("twin"),
        **{count: int(metrics.get(count, 0)) for count in COUNTS},
        **_configuration(run),
        **{key: value for key, value in sorted(metrics.items()) if key not in (*COUNTS, _COST)},
    }
    return {column: value for column, value in row.items() if value is not None}


def _trial_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    first = ["trial_id", "role", "twin", *COUNTS]
    table = pd.DataFrame(rows, columns=None if rows else first)
    for missing in {"role", "twin"} - set(table):
        table[missing] = None
    return table[[*first, *(column for column in table if column not in first)]]


def history(name: str, uri: str | None = None, *, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Epochs of every replicate as a long table: `trial_id, replicate_id, epoch, time, metric, value`.

    Args:
        name: Of the sweep.
        uri: MLflow's address; without it `MLFLOW_TRACKING_URI`.
        metrics: Which; by default all that were logged, measures taken at listed epochs apart (`at_epoch.NAME`).

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        runs = _runs(client, _experiment(client, name), "tags.level = 'replicate'")
        rows = [
            (run.data.tags["trial"], run.data.tags["identity"], point.step, point.timestamp, metric, point.value)
            for run in runs
            for metric in (sorted(_without_early(run.data.metrics)) if metrics is None else sorted(metrics))
            for point in client.get_metric_history(run.info.run_id, metric)
        ]
    columns = ["trial_id", "replicate_id", "epoch", "time", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).sort_values([*columns[:3], "metric"], ignore_index=True)


def _runs(client: MlflowClient, place: str, condition: str) -> Iterator[Run]:
    """All runs that meet a condition: MLflow's own search stops after one page without a word."""
    token = None
    while True:
        page = client.search_runs([place], condition, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
