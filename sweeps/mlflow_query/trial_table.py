"""Trials: all of them, or the best, which the server finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from sweeps.document import assign
from sweeps.errors import SpecError
from sweeps.mlflow_query.runs import SUMMARISED, TRIAL, Run, configuration, of_entity
from sweeps.mlflow_query.store import reading
from sweeps.table import of_one_type
from sweeps.tracking.parameters import decode, whole

if TYPE_CHECKING:
    from mlflow import MlflowClient

TIES = 20  # more than are asked for, so that equal trials come in the order of their names, as from the records
COUNTS = ("n", "n_diverged", "n_failed", "n_stopped")
_COST = "wall_seconds.sum"


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
    """All trials that have a replicate which has ended, unpruned ones first, in the order of their names.

    Columns: `trial_id, role, twin`, the counts `n, n_diverged, n_failed, n_stopped`, the configuration, and
    `METRIC.mean`, `.sd`; for the objective `.median` and `.iqm`; for it, the test accuracy and the parameters kept
    `.ci_low` and `.ci_high`.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with reading(uri) as store:
        runs = store.many.runs(store.experiment(name), SUMMARISED)
        return _found(sorted(runs, key=lambda run: (run.tags.get("role") == "pruned", run.identity)))


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
        numbered = [(run.metrics.get(column), run) for run in runs]
        kept = [
            (sign * value, run.identity, run) for value, run in numbered if value is not None and value == value
        ]
        return [run for _, _, run in sorted(kept, key=lambda found: found[:2])]

    # Only trial runs have counts: a condition on the tag `level` would make the database look at every replicate.
    condition = "metrics.n >= 0" if allow_diverged else "metrics.n_diverged = 0 and metrics.n_failed = 0"
    with reading(uri) as store:
        place = store.experiment(name)
        page = store.client.search_runs([place], condition, order_by=order, max_results=k + TIES)
        found = ranked(map(of_entity, page))
        if len(found) <= k and not allow_diverged:
            found += ranked(run for run in store.many.runs(place, SUMMARISED) if _is_broken(run))
        if not found:
            raise SpecError(_no_statistic(store.client, place, name, column))
    return _found(found[:k])._replace(has_more=len(found) > k)


def _is_broken(run: Run) -> bool:
    return bool(run.metrics.get("n_diverged", 0) + run.metrics.get("n_failed", 0))


def _found(runs: Sequence[Run]) -> Trials:
    return Trials(_table([_row(run) for run in runs]), {run.identity: _about(run) for run in runs})


def _about(run: Run) -> dict[str, Any]:
    tags = run.tags
    if "config" in tags:
        return {key: json.loads(whole(key, tags[key], tags)) for key in ("config", "point") if key in tags}
    config: dict[str, Any] = {}
    for path, text in run.parameters.items():
        config = assign(config, path, decode(whole(path, text, tags)))
    return {"config": config, "point": {}}


def about(name: str, trial: str, uri: str | None = None) -> dict[str, Any]:
    """`config` and `point` of a trial.

    Raises:
        SweepNotFound: The store has no such sweep or trial.
        TrackingError: The store does not answer.
    """
    with reading(uri) as store:
        return _about(of_entity(store.one(name, TRIAL, trial)))


def _no_statistic(client: MlflowClient, place: str, name: str, column: str) -> str:
    some = client.search_runs([place], "metrics.n >= 0", max_results=1)
    known = ", ".join(sorted(k for k in some[0].data.metrics if "." in k)) if some else "none yet"
    return f"no trial of {name!r} has {column}; there: {known}"


def _row(run: Run) -> dict[str, Any]:
    tags, metrics = run.tags, run.metrics
    row = {
        "trial_id": run.identity,
        "role": tags.get("role"),
        "twin": tags.get("twin"),
        **{count: int(metrics.get(count, 0)) for count in COUNTS},
        **configuration(run),
        **{key: value for key, value in sorted(metrics.items()) if key not in (*COUNTS, _COST)},
    }
    return {column: value for column, value in row.items() if value is not None}


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    first = ["trial_id", "role", "twin", *COUNTS]
    table = of_one_type(pd.DataFrame(rows, columns=None if rows else first))
    for missing in {"role", "twin"} - set(table):
        table[missing] = None
    return table[[*first, *(column for column in table if column not in first)]]
