"""Asking a sweep for its tables: trials, replicates, their histories and spectra.

Answers come from the records, or with `source="mlflow"` from an MLflow that they were projected to.

>>> sweeps.replicates("quickstart", where='prune.rule == "none" and status == "finished"')  # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from sweeps.choosing import filtered
from sweeps.errors import SpecError
from sweeps.metrics import HISTORY, require_known
from sweeps.origin import SPECTRA, Named, Origin, Records, Root, Source, arrays_in, origin_of, unplanned
from sweeps.wording import counted


def replicates(
    name: str,
    *,
    where: str | None = None,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> pd.DataFrame:
    """A row a replicate that has ended; see `sweeps.table.replicates_of` for the columns.

    Args:
        name: Of the sweep.
        where: Only those for which this holds, a condition over the columns: `prune.rule == "mp_edge"`.
        select_on_test: Allow `where` to look at test metrics.
        source: `records`, or `mlflow` for a machine without them.
        storage: Of the records, instead of `RMT_STORAGE` and `./sweeps-data`.
        uri: Of MLflow, instead of `MLFLOW_TRACKING_URI` and the store inside the storage.

    Returns:
        The rows, in `.attrs["left_out"]` a sentence for everything that is not among them, and in
        `.attrs["included"]` one where the present plan does not ask for all that is.

    Raises:
        ExpressionError: `where` is no condition, or names no column; lists the columns.
        SelectionOnTest: `where` looks at a test metric, without `select_on_test`.
        SweepNotFound: There is no such sweep; lists those there are.
        TrackingError: MLflow does not answer, does not let us in, or is too old.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    return _replicates(origin, where, select_on_test)


def _replicates(origin: Origin, where: str | None, select_on_test: bool) -> pd.DataFrame:
    table = origin.replicates()
    asked_for = len(table) - (len(origin.unplanned()) if isinstance(origin, Records) else 0)
    pending = max(0, origin.planned - asked_for)
    left_out = [f"{counted(pending, 'planned replicate')} not ended or not there yet"] if pending else []
    kept = filtered(table, where, "replicate", select_on_test=select_on_test, left_out=left_out)
    kept.attrs["included"] = unplanned(origin, kept)
    return kept


def trials(
    name: str,
    *,
    metric: str | None = None,
    where: str | None = None,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> pd.DataFrame:
    """A row a trial; see `sweeps.aggregate.trials_of` for the columns. Arguments and errors as of `replicates`.

    Args:
        metric: Gets every statistic, instead of the objective's.

    Raises:
        SpecError: An unknown metric; lists the known ones.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    if metric is not None:
        require_known(metric)
    table = origin.trials([metric or origin.objective["metric"]])
    kept = filtered(table, where, "trial", select_on_test=select_on_test)
    kept.attrs["included"] = unplanned(origin, kept)
    return kept


def history(
    name: str,
    *,
    metrics: Sequence[str] | None = None,
    where: str | None = None,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> pd.DataFrame:
    """Epochs of every replicate as a long table: `trial_id, replicate_id, epoch, time, metric, value`.

    Other arguments and errors as of `replicates`; with `where` only replicates that have ended.

    Args:
        metrics: Which; all that were logged by epoch by default.

    Raises:
        SpecError: A metric that no epoch has; lists the known ones.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    chosen, left_out = None, []
    if where is not None:
        rows = _replicates(origin, where, select_on_test)
        chosen, left_out = list(_named(rows)), rows.attrs["left_out"]
    table = origin.history(chosen, metrics)
    if unknown := sorted({*(metrics or ())} - set(HISTORY) - set(table["metric"])):
        raise SpecError(f"unknown metric {unknown[0]!r} of an epoch; known: {', '.join(sorted(HISTORY))}")
    table.attrs["left_out"] = left_out
    return table


def _named(rows: pd.DataFrame) -> Iterator[Named]:
    return zip(rows["trial_id"], rows["replicate_id"], strict=True)


def spectra(
    name: str,
    *,
    where: str | None = None,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> pd.DataFrame:
    """Singular values and fits: a row a layer, epoch and replicate that has ended. Arguments as of `replicates`.

    Columns: `trial_id, replicate_id, layer, epoch, singular_values` (descending, None where they were not kept),
    and those of the fit made there: `variance, edge, threshold, spikes, distance, rank, ...`.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    chosen = _replicates(origin, where, select_on_test)
    rows: list[dict[str, Any]] = []
    without = 0
    named = list(_named(chosen))
    for (trial, replicate), content in zip(named, origin.files(named, SPECTRA), strict=True):
        arrays = arrays_in(content)
        without += not arrays
        rows += ({"trial_id": trial, "replicate_id": replicate, **row} for row in _layers(arrays))
    first = ["trial_id", "replicate_id", "layer", "epoch", "singular_values"]
    table = pd.DataFrame(rows, columns=None if rows else first)
    table = table[[*first, *(column for column in table if column not in first)]]
    lacking = [f"{counted(without, 'replicate')} without spectra"] if without else []
    table.attrs["left_out"] = [*chosen.attrs["left_out"], *lacking]
    return table


def _layers(arrays: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of one `spectra.npz`, in the order of epochs and layers."""
    fits = json.loads(str(arrays["fits"])) if "fits" in arrays else []
    found = {(row["layer"], int(row["epoch"])): {**row, "singular_values": None} for row in fits}
    for key, values in arrays.items():
        place, _, last = key.rpartition("/")
        layer, _, epoch = place.rpartition("/")
        if last == "singular_values":
            row = found.setdefault((layer, int(epoch)), {"layer": layer, "epoch": int(epoch)})
            row["singular_values"] = values
    order = {layer: number for number, (layer, _) in enumerate(found)}
    yield from (found[key] for key in sorted(found, key=lambda place: (place[1], order[place[0]])))
