"""Epochs of replicates, as a long table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pandas as pd

from sweeps.metrics import FINAL, HISTORY
from sweeps.mlflow_query.runs import REPLICATE, Point, Run
from sweeps.mlflow_query.store import reading
from sweeps.origin import long_table
from sweeps.tracking.source import AT_EPOCH

NOT_BY_EPOCH = frozenset({*FINAL, "wall_seconds"})


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
    with reading(uri) as store:
        found = store.many.runs(store.experiment(name), REPLICATE)
        runs = {run.run_id: run for run in found if only is None or run.identity in only}
        wanted = {run.run_id: list(_asked(run, metrics)) for run in runs.values()}
        rows = [
            (runs[run].tags["trial"], runs[run].identity, point.step, point.time, metric, point.value)
            for run, metric, points in store.many.points(wanted)
            if _is_by_epoch(runs[run], metric, points)
            for point in points
        ]
    return long_table(rows)


def _asked(run: Run, metrics: Sequence[str] | None) -> Iterator[str]:
    for metric in run.metrics:
        if metric not in NOT_BY_EPOCH and (
            not metric.startswith(AT_EPOCH) if metrics is None else metric in metrics
        ):
            yield metric


def _is_by_epoch(run: Run, metric: str, points: Sequence[Point]) -> bool:
    """Whether these are epochs: a measure has one point only, of the end."""
    by_epoch = metric in HISTORY or metric.startswith(AT_EPOCH) or len(points) > 1
    return by_epoch or (bool(points) and points[0].time != run.end_time)
