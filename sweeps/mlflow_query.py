"""Answers from MLflow, the only code that reads it: the tables of a sweep on a machine that has no records.

Columns are those of the tables made from the records. A trial's statistics stand on its own run, so the best
trials come from one query on the server, however many replicates there are.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from sweeps.document import assign
from sweeps.errors import SpecError, SweepNotFound, TrackingError
from sweeps.metrics import FINAL, HISTORY
from sweeps.origin import long_table
from sweeps.status import Status
from sweeps.table import of_one_type
from sweeps.tracking.client import Refused, Unavailable, failures_named, settings, without_password
from sweeps.tracking.parameters import decode, whole
from sweeps.tracking.source import AT_EPOCH
from sweeps.tracking.store import check, database_path, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

PAGE = 2_000
TIES = 20  # more than are asked for, so that equal trials come in the order of their names, as from the records
COUNTS = ("n", "n_diverged", "n_failed", "n_stopped")
_FIRST = ("sweep", "trial_id", "replicate_id", "role", "twin", "status", "reason")
_SEEDS = ("seeds.initialisation", "seeds.data_order", "seeds.split")
_LAST = ("epochs", "wall_seconds", "started", "ended")
_COST = "wall_seconds.sum"
NOT_BY_EPOCH = frozenset({*FINAL, "wall_seconds"})


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


def experiment_tags(name: str, uri: str | None = None) -> dict[str, str]:
    """Tags of a sweep's experiment: its objective, and how many replicates are planned.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        return dict(client.get_experiment(_experiment(client, name)).tags)


def tag(name: str, level: str, identity: str, key: str, uri: str | None = None) -> str | None:
    """A tag of one run of a sweep; None when it has none of that name."""
    with _reading(uri) as client:
        found: str | None = _one(client, name, level, identity).data.tags.get(key)
        return found


def run_id(name: str, level: str, identity: str, uri: str | None = None) -> str:
    """Id of one run of a sweep."""
    with _reading(uri) as client:
        return str(_one(client, name, level, identity).info.run_id)


def artifact(name: str, level: str, identity: str, file: str, uri: str | None = None) -> bytes | None:
    """Content of an artifact of one run of a sweep; None when the run holds none of that name.

    Args:
        name: Of the sweep.
        level: `sweep`, `trial` or `replicate`.
        identity: Name of the sweep, trial or replicate.
        file: Name of the artifact.
        uri: MLflow's address; without it `MLFLOW_TRACKING_URI`.

    Raises:
        SweepNotFound: The store has no such sweep or run.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        return _content(client, _one(client, name, level, identity), file)


def artifacts(name: str, replicates: Sequence[str], file: str, uri: str | None = None) -> Iterator[bytes | None]:
    """Content of an artifact of many replicates, in their order, without a search for each; see `artifact`."""
    with _reading(uri) as client:
        runs = _runs(client, _experiment(client, name), "tags.level = 'replicate'")
        wanted = set(replicates)
        known = {run.data.tags["identity"]: run for run in runs if run.data.tags["identity"] in wanted}
        for replicate in replicates:
            yield _content(client, known[replicate], file)


def _content(client: MlflowClient, run: Run, file: str) -> bytes | None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # The client's own methods ask for the run again, twice.
    store = get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)
    if file not in {found.path for found in store.list_artifacts()}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return Path(store.download_artifacts(file, folder)).read_bytes()


def _one(client: MlflowClient, name: str, level: str, identity: str) -> Run:
    safe = identity.replace("'", "")  # no name of ours has a quote; one that is asked for might
    condition = f"tags.level = '{level}' and tags.identity = '{safe}'"
    found = client.search_runs([_experiment(client, name)], condition, max_results=1)
    if not found:
        raise SweepNotFound(f"sweep {name!r} has no {level} {identity!r} in this MLflow")
    return found[0]


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
    table = of_one_type(pd.DataFrame(rows))
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


class Trials(NamedTuple):
    """Trials that were found.

    Attributes:
        table: A row a trial.
        about: `config` and `point` of each of them, by name.
        has_more: Whether there are trials after them.
    """

    table: pd.DataFrame
    about: Mapping[str, Mapping[str, Any]]
    has_more: bool = False


def trials(name: str, uri: str | None = None) -> Trials:
    """All trials that have a replicate which has ended.

    Columns: `trial_id, role, twin`, the counts `n, n_diverged, n_failed, n_stopped`, the configuration, and
    `METRIC.mean`, `.sd`; for the objective `.median` and `.iqm`; for it, the test accuracy and the parameters kept
    `.ci_low` and `.ci_high`.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        return _found(list(_runs(client, _experiment(client, name), "metrics.n >= 0")))


def best(
    name: str,
    uri: str | None = None,
    *,
    metric: str = "validation_accuracy",
    statistic: str = "mean",
    mode: str = "max",
    k: int = 5,
    allow_diverged: bool = False,
) -> Trials:
    """The k best trials by a statistic, found by the server; those with a diverged or failed replicate come last.

    Raises:
        SpecError: No trial has that statistic; lists those there are.
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    column = f"{metric}.{statistic}"
    order = [f"metrics.`{column}` {'DESC' if mode == 'max' else 'ASC'}"]
    sign = -1 if mode == "max" else 1

    def ranked(runs: Iterable[Run]) -> list[Run]:
        numbered = [(run.data.metrics.get(column), run) for run in runs]
        kept = [
            (sign * value, run.data.tags["identity"], run)
            for value, run in numbered
            if value is not None and value == value
        ]
        return [run for _, _, run in sorted(kept, key=lambda found: found[:2])]

    # Only trial runs have counts: a condition on the tag `level` would make the database look at every replicate.
    condition = "metrics.n >= 0" if allow_diverged else "metrics.n_diverged = 0 and metrics.n_failed = 0"
    with _reading(uri) as client:
        place = _experiment(client, name)
        page = client.search_runs([place], condition, order_by=order, max_results=k + TIES)
        found = ranked(page)
        if len(found) <= k and not allow_diverged:
            found += ranked(run for run in _runs(client, place, "metrics.n >= 0") if _is_broken(run))
        if not found:
            raise SpecError(_no_statistic(client, place, name, column))
    return _found(found[:k])._replace(has_more=len(found) > k)


def _is_broken(run: Run) -> bool:
    return bool(run.data.metrics.get("n_diverged", 0) + run.data.metrics.get("n_failed", 0))


def _found(runs: Sequence[Run]) -> Trials:
    return Trials(
        _trial_table([_trial(run) for run in runs]), {run.data.tags["identity"]: _about(run) for run in runs}
    )


def _about(run: Run) -> dict[str, Any]:
    tags = run.data.tags
    if "config" in tags:
        return {key: json.loads(whole(key, tags[key], tags)) for key in ("config", "point") if key in tags}
    config: dict[str, Any] = {}
    for path, text in run.data.params.items():
        config = assign(config, path, decode(whole(path, text, tags)))
    return {"config": config, "point": {}}


def about(name: str, trial: str, uri: str | None = None) -> dict[str, Any]:
    """`config` and `point` of a trial.

    Raises:
        SweepNotFound: The store has no such sweep or trial.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        return _about(_one(client, name, "trial", trial))


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
    table = of_one_type(pd.DataFrame(rows, columns=None if rows else first))
    for missing in {"role", "twin"} - set(table):
        table[missing] = None
    return table[[*first, *(column for column in table if column not in first)]]


def history(
    name: str,
    uri: str | None = None,
    *,
    metrics: Sequence[str] | None = None,
    only: Collection[str] | None = None,
) -> pd.DataFrame:
    """Epochs of every replicate as a long table: `trial_id, replicate_id, epoch, time, metric, value`.

    Args:
        name: Of the sweep.
        uri: MLflow's address; without it `MLFLOW_TRACKING_URI`.
        metrics: Which; by default all that were logged by epoch, measures taken at listed epochs (`at_epoch.NAME`)
            apart.
        only: Replicates by name; all that have begun by default.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with _reading(uri) as client:
        runs = _runs(client, _experiment(client, name), "tags.level = 'replicate'")
        rows = [
            (run.data.tags["trial"], run.data.tags["identity"], point.step, point.timestamp, metric, point.value)
            for run in runs
            if only is None or run.data.tags["identity"] in only
            for metric in sorted(set(run.data.metrics) - NOT_BY_EPOCH)
            if (not metric.startswith(AT_EPOCH) if metrics is None else metric in metrics)
            for point in _by_epoch(client, run, metric)
        ]
    return long_table(rows)


def _by_epoch(client: MlflowClient, run: Run, metric: str) -> list[Metric]:
    """Points of a metric; none of a measure, which has one only, of the end."""
    points: list[Metric] = client.get_metric_history(run.info.run_id, metric)
    by_epoch = metric in HISTORY or metric.startswith(AT_EPOCH) or len(points) > 1
    return points if by_epoch or (points and points[0].timestamp != run.info.end_time) else []


def _runs(client: MlflowClient, place: str, condition: str) -> Iterator[Run]:
    """All runs that meet a condition: MLflow's own search stops after one page without a word."""
    token = None
    while True:
        page = client.search_runs([place], condition, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
