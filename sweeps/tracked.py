"""A sweep in an MLflow store as an origin of answers: no records, no Ray, only an address."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from sweeps import mlflow_query
from sweeps.aggregate import trials_of
from sweeps.document import parse
from sweeps.errors import SweepNotFound
from sweeps.metrics import STATISTICS
from sweeps.origin import OBJECTIVE, Named


@dataclass(frozen=True)
class Tracked:
    """A sweep's experiment.

    Attributes:
        name: Of the sweep.
        uri: Address of the store.
    """

    name: str
    uri: str
    _about: dict[str, Mapping[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _tags(self) -> Mapping[str, str]:
        return mlflow_query.experiment_tags(self.name, self.uri)

    @property
    def objective(self) -> Mapping[str, str]:
        """Metric, statistic and mode of the sweep's objective."""
        return {**OBJECTIVE, **json.loads(self._tags.get("objective", "{}"))}

    @property
    def planned(self) -> int:
        """Replicates of the plan, as far as the projection has said."""
        return int(self._tags.get("planned_replicates", 0))

    def spec(self) -> dict[str, Any]:
        """The sweep's document as it was launched."""
        content = mlflow_query.artifact(self.name, "sweep", self.name, "spec.yaml", self.uri)
        if content is None:
            raise SweepNotFound(f"the run of sweep {self.name!r} holds no spec.yaml: `sweeps sync {self.name}`")
        document: dict[str, Any] = parse(content.decode())
        return document

    def replicates(self) -> pd.DataFrame:
        """A row a replicate that has ended."""
        return mlflow_query.replicates(self.name, self.uri)

    def trials(self, metrics: Sequence[str]) -> pd.DataFrame:
        """A row a trial; from the trials' own runs when they say enough, else from all replicates."""
        found = mlflow_query.trials(self.name, self.uri)
        self._about.update(found.about)
        wanted = {f"{metric}.{statistic}" for metric in metrics for statistic in STATISTICS}
        if found.table.empty or wanted <= set(found.table):
            return found.table
        return trials_of(self.replicates(), objective=metrics[0], also=metrics[1:])

    def leading(self, column: str, mode: str, k: int, *, allow_diverged: bool) -> pd.DataFrame | None:
        """The k best trials, found by the server; None when the trials' runs do not hold that statistic."""
        metric, _, statistic = column.rpartition(".")
        if metric != self.objective["metric"] and statistic not in ("mean", "sd"):
            return None
        found = mlflow_query.best(
            self.name, self.uri, metric=metric, statistic=statistic, mode=mode, k=k, allow_diverged=allow_diverged
        )
        self._about.update(found.about)
        found.table.attrs["left_out"] = ["trials after these"] if found.has_more else []
        return found.table

    def about(self, trial: str) -> Mapping[str, Any]:
        """`config` and `point` of a trial."""
        if trial not in self._about:
            self._about[trial] = mlflow_query.about(self.name, trial, self.uri)
        return self._about[trial]

    def history(self, chosen: Iterable[Named] | None, metrics: Sequence[str] | None) -> pd.DataFrame:
        """Epochs of the chosen replicates (None: of all that have begun) as a long table."""
        only = None if chosen is None else {replicate for _, replicate in chosen}
        return mlflow_query.history(self.name, self.uri, metrics=metrics, only=only)

    def file(self, replicate: Named, name: str) -> bytes | None:
        """A file of a replicate; None when its run holds none."""
        return mlflow_query.artifact(self.name, "replicate", replicate[1], name, self.uri)

    def files(self, chosen: Sequence[Named], name: str) -> Iterator[bytes | None]:
        """That file of each replicate, in their order; None when its run holds none."""
        return mlflow_query.artifacts(self.name, [replicate for _, replicate in chosen], name, self.uri)

    def record(self, replicate: Named) -> Mapping[str, Any]:
        """What of the record its run holds: `config`, and `input` when it is known."""
        given = mlflow_query.tag(self.name, "replicate", replicate[1], "input", self.uri)
        return {**self.about(replicate[0]), "input": json.loads(given) if given else None}
