"""Many runs straight from MLflow's database, as rows of its tables.

MLflow's own search makes objects of each parameter, tag and metric, which takes several times as long as reading
them. The definitions of the tables are those of the installed version, and its client, which finds the experiment,
has checked that the database has them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps.mlflow_query.runs import SUMMARISED, Point, Run, in_parts

if TYPE_CHECKING:
    from sqlalchemy import Connection

RUNS_PER_STATEMENT = 500
Texts = dict[str, dict[str, str]]


class Database(NamedTuple):
    """A database by its address."""

    address: str

    def runs(self, experiment: str, level: str) -> Iterator[Run]:
        """All active runs of an experiment that are replicates or trials, or trials with statistics; each once."""
        with _connected(self.address) as connection:
            for part in in_parts(_names(connection, experiment, level), RUNS_PER_STATEMENT):
                yield from _runs(connection, part)

    def points(self, wanted: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str, list[Point]]]:
        """Run, metric and all its points, for the metrics that are wanted of each run."""
        with _connected(self.address) as connection:
            for part in in_parts(wanted, RUNS_PER_STATEMENT):
                found: dict[tuple[str, str], list[Point]] = {}
                for run, metric, point in _points(connection, part):
                    if metric in wanted[run]:
                        found.setdefault((run, metric), []).append(point)
                yield from ((run, metric, points) for (run, metric), points in found.items())


@contextmanager
def _connected(address: str) -> Iterator[Connection]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(address)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _tables() -> Any:
    """MLflow's own definitions of its tables, which have no types."""
    from mlflow.store.tracking.dbmodels import models

    return models


def _names(connection: Connection, experiment: str, level: str) -> Sequence[str]:
    from sqlalchemy import select

    runs, tags, latest = _tables().SqlRun, _tables().SqlTag, _tables().SqlLatestMetric
    names: Any = select(runs.run_uuid).where(
        runs.experiment_id == int(experiment), runs.lifecycle_stage == "active"
    )
    if level == SUMMARISED:
        names = names.join(latest).where(latest.key == "n")
    else:
        names = names.join(tags).where(tags.key == "level", tags.value == level)
    found: Sequence[str] = connection.execute(names).scalars().all()
    return found


def _runs(connection: Connection, names: Sequence[str]) -> Iterator[Run]:
    """Runs by name. Their tags are read first: what they say of a run holds for all that is read after."""
    from sqlalchemy import select

    tags = _texts(connection, _tables().SqlTag, names)
    parameters = _texts(connection, _tables().SqlParam, names)
    metrics = _metrics(connection, names)
    runs = _tables().SqlRun
    asked: Any = select(runs.run_uuid, runs.status, runs.end_time, runs.artifact_uri).where(
        runs.run_uuid.in_(names)
    )
    for run, status, end, artifacts in connection.execute(asked):
        yield Run(run, status, end, artifacts, parameters.get(run, {}), metrics.get(run, {}), tags.get(run, {}))


def _texts(connection: Connection, table: Any, names: Sequence[str]) -> Texts:
    from sqlalchemy import select

    asked: Any = select(table.run_uuid, table.key, table.value).where(table.run_uuid.in_(names))
    found: Texts = {}
    for run, key, value in connection.execute(asked):
        found.setdefault(run, {})[key] = value
    return found


def _metrics(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, float]]:
    from sqlalchemy import select

    latest = _tables().SqlLatestMetric
    columns = (latest.run_uuid, latest.key, latest.value, latest.is_nan)
    asked: Any = select(*columns).where(latest.run_uuid.in_(names))
    found: dict[str, dict[str, float]] = {}
    for run, key, value, is_nan in connection.execute(asked):
        found.setdefault(run, {})[key] = float("nan") if is_nan else value
    return found


def _points(connection: Connection, names: Sequence[str]) -> Iterator[tuple[str, str, Point]]:
    from sqlalchemy import select

    logged = _tables().SqlMetric
    columns = (logged.run_uuid, logged.key, logged.step, logged.timestamp, logged.value, logged.is_nan)
    asked: Any = select(*columns).where(logged.run_uuid.in_(names))
    ordered = asked.order_by(logged.timestamp, logged.step, logged.value)
    for run, key, step, time, value, is_nan in connection.execute(ordered):
        yield run, key, Point(step, time, float("nan") if is_nan else value)
