"""Where answers come from: the records in a storage, or an MLflow they were projected to. Both answer alike."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from sweeps import records
from sweeps import storage as storages
from sweeps.aggregate import trials_of
from sweeps.document import parse
from sweeps.errors import SpecError, SweepNotFound
from sweeps.table import replicates_of
from sweeps.wording import counted, listed

Root = str | os.PathLike[str] | None
Source = Literal["records", "mlflow"]
SOURCES = ("records", "mlflow")
OBJECTIVE = {"metric": "validation_accuracy", "statistic": "mean", "mode": "max"}
MOST_NAMED = 5
WEIGHTS, SPECTRA = "weights.safetensors", "spectra.npz"
Named = tuple[str, str]
"""A replicate by the names of its trial and of itself."""


class Origin(Protocol):
    """What a question needs of a sweep."""

    @property
    def name(self) -> str:
        """Of the sweep."""
        ...

    @property
    def objective(self) -> Mapping[str, str]:
        """Metric, statistic and mode of the sweep's objective."""
        ...

    @property
    def planned(self) -> int:
        """Replicates of the plan."""
        ...

    def spec(self) -> dict[str, Any]:
        """The sweep's document as it was launched."""
        ...

    def replicates(self) -> pd.DataFrame:
        """A row a replicate that has ended."""
        ...

    def trials(self, metrics: Sequence[str]) -> pd.DataFrame:
        """A row a trial, with every statistic of `metrics`."""
        ...

    def leading(self, column: str, mode: str, k: int, *, allow_diverged: bool) -> pd.DataFrame | None:
        """The k best trials without looking at all of them; None where that can not be done.

        `.attrs["left_out"]` says when there are more.
        """
        ...

    def about(self, trial: str) -> Mapping[str, Any]:
        """`config` and `point` of a trial."""
        ...

    def history(self, chosen: Iterable[Named] | None, metrics: Sequence[str] | None) -> pd.DataFrame:
        """Epochs of the chosen replicates (None: of all that have begun) as a long table."""
        ...

    def file(self, replicate: Named, name: str) -> bytes | None:
        """A file of a replicate; None when there is none."""
        ...

    def files(self, chosen: Sequence[Named], name: str) -> Iterator[bytes | None]:
        """That file of each replicate, in their order; None when there is none."""
        ...

    def record(self, replicate: Named) -> Mapping[str, Any]:
        """What of a record is needed to build its network: `config`, and `input` when it is known."""
        ...


def origin_of(
    name: str,
    source: str = "records",
    *,
    storage: Root = None,
    uri: str | None = None,
) -> Origin:
    """The origin of answers about a sweep.

    Args:
        name: Of the sweep.
        source: `records` or `mlflow`.
        storage: Of the records, instead of `RMT_STORAGE` and `./sweeps-data`.
        uri: Of MLflow, instead of `MLFLOW_TRACKING_URI`, the spec's in the storage, and the store inside it.

    Raises:
        SpecError: Another source.
        SweepNotFound: It has no such sweep; lists those it has.
        TrackingError: MLflow does not answer, does not let us in, or is too old.
    """
    if source not in SOURCES:
        raise SpecError(f"unknown source {source!r} of answers; known: {', '.join(SOURCES)}")
    root = storages.resolve(storage)
    if source == "records":
        return Records(storages.sweep_folder(root, name))
    from sweeps.tracked import Tracked
    from sweeps.tracking.store import sweep_uri

    return Tracked(name, sweep_uri(root, name, uri))


@dataclass(frozen=True)
class Records:
    """A sweep's folder in a storage.

    Attributes:
        folder: The sweep's.
        only_planned: Leave out what earlier plans have left behind and the present one does not ask for.
    """

    folder: Path
    only_planned: bool = False

    @property
    def name(self) -> str:
        """Of the sweep."""
        return self.folder.name

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The plan that the sweep was last launched with; no trials where it never was."""
        return records.read_plan(self.folder)

    @property
    def objective(self) -> Mapping[str, str]:
        """Metric, statistic and mode of the sweep's objective."""
        return {**OBJECTIVE, **self.plan.get("objective", {})}

    @property
    def planned(self) -> int:
        """Replicates of the plan."""
        return sum(len(trial["replicates"]) for trial in self.plan["trials"])

    def spec(self) -> dict[str, Any]:
        """The sweep's document as it was launched."""
        path = self.folder / "spec.yaml"
        document: dict[str, Any] = parse(path.read_text(encoding="utf-8"), source=str(path))
        return document

    def replicates(self) -> pd.DataFrame:
        """A row a replicate that has ended."""
        table = replicates_of(self.folder)
        if not self.only_planned:
            return table
        return table[table["replicate_id"].isin(self._asked_for)].reset_index(drop=True)

    @cached_property
    def _asked_for(self) -> frozenset[str]:
        """Names of the replicates of the plan."""
        return frozenset(one["replicate_id"] for trial in self.plan["trials"] for one in trial["replicates"])

    @property
    def trials_asked_for(self) -> frozenset[str] | None:
        """Names of the trials to answer about; None for all that are recorded."""
        return frozenset(trial["trial_id"] for trial in self.plan["trials"]) if self.only_planned else None

    def unplanned(self) -> list[Named]:
        """Replicates that have ended and that the plan does not ask for; none where there is no plan."""
        if not self._asked_for:
            return []
        others = (folder for folder in records.folders(self.folder) if folder.name not in self._asked_for)
        return [(folder.parent.name, folder.name) for folder in others if (folder / records.RECORD).exists()]

    def trials(self, metrics: Sequence[str]) -> pd.DataFrame:
        """A row a trial, with every statistic of `metrics`."""
        return trials_of(self.replicates(), objective=metrics[0], also=metrics[1:])

    def leading(self, column: str, mode: str, k: int, *, allow_diverged: bool) -> None:
        """Not done: the table of replicates is at hand."""

    def about(self, trial: str) -> Mapping[str, Any]:
        """`config` and `point` of a trial."""
        found: dict[str, Any] = json.loads((records.trial_folder(self.folder, trial) / "trial.json").read_bytes())
        return found

    def history(self, chosen: Iterable[Named] | None, metrics: Sequence[str] | None) -> pd.DataFrame:
        """Epochs of the chosen replicates (None: of all that have begun) as a long table."""
        if chosen is None:
            folders = list(records.folders(self.folder))
        else:
            folders = [records.replicate_folder(self.folder, *replicate) for replicate in chosen]
        rows = [
            (folder.parent.name, folder.name, row["epoch"], row.get("time"), metric, _number(value))
            for folder in folders
            for row in records.read_history(folder)
            for metric, value in row.items()
            if metric not in ("epoch", "time") and (metrics is None or metric in metrics)
        ]
        return long_table(rows)

    def file(self, replicate: Named, name: str) -> bytes | None:
        """A file of a replicate; None when there is none."""
        path = storages.at_hand(records.replicate_folder(self.folder, *replicate) / name)
        return path.read_bytes() if path.is_file() else None

    def files(self, chosen: Sequence[Named], name: str) -> Iterator[bytes | None]:
        """That file of each replicate, in their order; None when there is none."""
        return (self.file(replicate, name) for replicate in chosen)

    def record(self, replicate: Named) -> Mapping[str, Any]:
        """The replicate's record."""
        found = records.read_record(records.replicate_folder(self.folder, *replicate))
        if found is None:
            raise SweepNotFound(f"replicate {replicate[1]} of {self.name} has no record")
        return found


def unplanned(origin: Origin, rows: pd.DataFrame) -> list[str]:
    """A sentence where the present plan does not ask for all that rows rest on; MLflow knows no plan.

    Such records stay: of an earlier grid, of more seeds, of a function's version or source before.

    Args:
        origin: Of the rows.
        rows: A row a trial, or a replicate.
    """
    trials = set(rows["trial_id"])
    others = [one for one in origin.unplanned() if one[0] in trials] if isinstance(origin, Records) else []
    if "replicate_id" in rows:
        shown = set(rows["replicate_id"])
        others = [one for one in others if one[1] in shown]
    if not others:
        return []
    found = list(dict.fromkeys(trial for trial, _ in others))
    what = f"{counted(len(others), 'replicate')} of {counted(len(found), 'trial')}"
    return [f"{what} that the present plan does not ask for: {listed(found, MOST_NAMED)}"]


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def long_table(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """`trial_id, replicate_id, epoch, time, metric, value` from such rows, in the order of names and epochs."""
    columns = ["trial_id", "replicate_id", "epoch", "time", "metric", "value"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["trial_id", "replicate_id", "epoch", "metric"], ignore_index=True)


def arrays_in(content: bytes | None) -> dict[str, Any]:
    """Arrays of a `spectra.npz`: `LAYER/EPOCH/singular_values` and the table of `fits`; empty without one."""
    if content is None:
        return {}
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}
