"""A run as the tables need it, and the two ways to read many at once: from a server, or from its database."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sweeps.tracking.parameters import decode, whole

if TYPE_CHECKING:
    from mlflow.entities import Run as Entity

REPLICATE = "replicate"
TRIAL = "trial"
SUMMARISED = "summarised"  # not a level, but trials that have statistics: far quicker to find


class Run(NamedTuple):
    """A run.

    Attributes:
        run_id: MLflow's name of it.
        status: MLflow's own, such as `FINISHED`.
        end_time: When it ended, in milliseconds; None while it has not.
        artifacts: Address of its artifacts.
        parameters: As text.
        metrics: The latest value of each.
        tags: As they are.
    """

    run_id: str
    status: str
    end_time: int | None
    artifacts: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def identity(self) -> str:
        """Name of the sweep, trial or replicate."""
        return self.tags["identity"]


class Point(NamedTuple):
    """One logged value of a metric, with its time in milliseconds."""

    step: int
    time: int
    value: float


class Origin(Protocol):
    """Where many runs are read from."""

    def runs(self, experiment: str, level: str) -> Iterator[Run]:
        """All active runs of an experiment that are replicates or trials, or trials with statistics; each once."""
        ...

    def points(self, wanted: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str, list[Point]]]:
        """Run, metric and all its points, for the metrics that are wanted of each run."""
        ...


def in_parts(names: Collection[str], size: int) -> Iterator[list[str]]:
    """Names in lists of at most so many."""
    listed = list(names)
    return (listed[start : start + size] for start in range(0, len(listed), size))


def of_entity(run: Entity) -> Run:
    """A run that MLflow's client has found."""
    info, data = run.info, run.data
    return Run(info.run_id, info.status, info.end_time, info.artifact_uri, data.params, data.metrics, data.tags)


def configuration(run: Run) -> dict[str, Any]:
    """Columns of a run's parameters, in the order of their paths."""
    return {path: _cell(whole(path, text, run.tags)) for path, text in sorted(run.parameters.items())}


@lru_cache(maxsize=10_000)
def _cell(text: str) -> Any:
    value = decode(text)
    return json.dumps(value) if isinstance(value, list | dict) else value
