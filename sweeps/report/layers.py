"""Spectra and fits of one replicate, layer by layer, as `spectra.npz` holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.report.evidence import UNREADABLE, Evidence

_KEY = "singular_values"
ZERO = 1e-9  # share of the largest singular value below which one counts as removed: truncation leaves rounding


@dataclass(frozen=True)
class LayerSpectrum:
    """Singular values of one layer at one epoch, before anything was cut there.

    Attributes:
        values: float64, descending.
        fit: Row of the fit made at that epoch, if there was one: variance, edge, threshold, spikes, rank, ...
        is_cut: Whether a rule then removed something.
    """

    layer: str
    epoch: int
    values: NDArray[np.float64]
    fit: Mapping[str, Any] | None
    is_cut: bool = False

    @property
    def present(self) -> NDArray[np.float64]:
        """Values that were not removed by an earlier cut."""
        return self.values[self.values > ZERO * self.values.max(initial=0.0)]

    @property
    def removed(self) -> int:
        """How many values an earlier cut removed (a factored layer may not list them)."""
        full = min(self.fit["rows"], self.fit["cols"]) if self.fit else len(self.values)
        return int(max(full, len(self.values)) - len(self.present))


def fits_of(arrays: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of `fits`: one a layer and pruning epoch; empty if nothing was fitted."""
    return pd.DataFrame(_fit_rows(arrays))


def _fit_rows(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for text in np.atleast_1d(np.asarray(arrays.get("fits", []))).ravel():
        found = json.loads(str(text))
        rows.extend(found if isinstance(found, list) else [found])
    return rows


def spectra_of(arrays: Mapping[str, Any]) -> dict[str, list[LayerSpectrum]]:
    """Spectra by layer, in the order of epochs."""
    fits = {(row["layer"], int(row["epoch"])): row for row in _fit_rows(arrays)}
    layers: dict[str, list[LayerSpectrum]] = {}
    for layer, epoch, key in sorted(_keys(arrays), key=lambda found: found[1]):
        values = np.asarray(arrays[key], dtype=np.float64)
        row = fits.get((layer, epoch))
        fit = row if row and row.get("variance") is not None else None  # a layer that was skipped has no numbers
        is_cut = bool(fit and fit.get("status") == "cut")
        layers.setdefault(layer, []).append(LayerSpectrum(layer, epoch, values, fit, is_cut))
    return layers


def _keys(arrays: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    for key in arrays:
        layer, _, rest = key.rpartition(f"/{_KEY}")[0].rpartition("/")
        if layer and rest.isdigit():
            yield layer, int(rest), key


def cut_layers(layers: Mapping[str, list[LayerSpectrum]]) -> dict[str, list[LayerSpectrum]]:
    """The layers that were pruned; where none was, those that were fitted."""
    cut = {layer: spectra for layer, spectra in layers.items() if any(one.is_cut for one in spectra)}
    return cut or {layer: spectra for layer, spectra in layers.items() if any(one.fit for one in spectra)}


def representative(evidence: Evidence, trial_id: str) -> str | None:
    """The finished replicate whose objective is the median of the trial's: typical, neither lucky nor unlucky."""
    rows = evidence.replicates(trial_id)
    metric = evidence.objective.metric
    rows = rows[rows["status"] == "finished"]
    rows = rows.dropna(subset=[metric]) if metric in rows else rows
    if rows.empty:
        return None
    order = rows.sort_values([metric, "replicate_id"]) if metric in rows else rows
    return str(order.iloc[(len(order) - 1) // 2]["replicate_id"])


def read(evidence: Evidence, trial_id: str, replicate_id: str) -> Mapping[str, Any] | None:
    """Arrays of a replicate's `spectra.npz`; None where the record has none."""
    try:
        arrays: Mapping[str, Any] = evidence.spectra(trial_id, replicate_id)
    except UNREADABLE:
        return None
    return arrays


def ranks_of(evidence: Evidence, trial_id: str) -> pd.DataFrame:
    """Fits of all finished replicates of a trial: `replicate_id` beside the columns of `fits`."""
    rows = evidence.replicates(trial_id)
    frames = []
    for replicate_id in rows.loc[rows["status"] == "finished", "replicate_id"]:
        arrays = read(evidence, trial_id, replicate_id)
        if arrays is not None:
            frames.append(fits_of(arrays).assign(replicate_id=replicate_id))
    kept = [frame for frame in frames if len(frame)]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame()
