"""What the spectra of a whole network say, layer by layer.

    rmt.analyse(torchvision.models.resnet18(weights="DEFAULT"))

A row a layer; a layer that no law is fitted to keeps its row and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor, nn

from rmt import plot
from rmt.candidates import Candidate, candidates_of
from rmt.errors import InvalidWeight
from rmt.estimators import NOISE
from rmt.gate import Gate
from rmt.measures import MEASURES, LayerSubject, measure
from rmt.options import checked

DEFAULT_MEASURES = (
    *("spikes", "singular_threshold", "singular_edge", "noise_variance", "fit_distance", "bulk_fraction"),
    *("spike_mass", "outlier_ratio", "stable_rank", "entropy_rank", "hill_alpha", "rank", "factored_share"),
)


@dataclass(frozen=True)
class LayerAnalysis:
    """One layer's analysis.

    Attributes:
        candidate: The layer.
        subject: Its matrix with spectrum and fit, or None where no law is fitted.
        reason: Why none is; empty otherwise.
    """

    candidate: Candidate
    subject: LayerSubject | None
    reason: str = ""


def analyse(
    source: nn.Module | Mapping[str, Tensor],
    *,
    noise: str = "bema_two_pass",
    measures: Sequence[str] = DEFAULT_MEASURES,
    min_size: int = 50,
    **options: Any,
) -> pd.DataFrame:
    """Fit every layer of a network and tabulate what is noise in it.

    Args:
        source: A module, or a state dict without its module.
        noise: Name of the noise estimator (`rmt.NOISE`).
        measures: Names of layer measures (`rmt.MEASURES`), one column each.
        min_size: Smaller side below which no law is fitted.
        options: The estimator's own, such as `beta`.

    Returns:
        A row a layer: layer, kind, rows, cols, a column a measure (singular values, not eigenvalues, for edge and
        threshold), `null_distance` (95 % quantile of the fit distance for pure noise of that size), and `reason`,
        empty for layers that were fitted.

    Raises:
        UnknownName: No such estimator or measure.
        InvalidOption: An option of the estimator or `min_size` out of range.
    """
    return tabulate(analyse_layers(source, noise=noise, min_size=min_size, **options), measures)


def analyse_layers(
    source: nn.Module | Mapping[str, Tensor],
    *,
    noise: str = "bema_two_pass",
    min_size: int = 50,
    **options: Any,
) -> list[LayerAnalysis]:
    """The analyses behind the table, with the spectra that pictures need."""
    gate = Gate(skip_heads=False, min_size=min_size)
    checked(
        f"noise {noise}", NOISE[noise], {name: value for name, value in options.items() if name != "generator"}
    )
    found = [_analyse_layer(candidate, gate, noise, options) for candidate in candidates_of(source)]
    return [layer for _, parts in groupby(found, key=_whole) for layer in _merged(list(parts))]


def _analyse_layer(candidate: Candidate, gate: Gate, noise: str, options: Mapping[str, Any]) -> LayerAnalysis:
    if candidate.weight is None or candidate.shape is None:
        return LayerAnalysis(candidate, None, candidate.reason)
    refusal = gate.refusal_before_fit(head=False, smaller=min(candidate.shape))
    if refusal is not None:
        return LayerAnalysis(candidate, None, refusal)
    subject = LayerSubject(candidate.weight, noise=noise, options=options)
    try:
        degenerate = subject.degenerate
    except InvalidWeight as error:
        return LayerAnalysis(candidate, None, str(error))
    return LayerAnalysis(candidate, None if degenerate else subject, degenerate)


def _whole(layer: LayerAnalysis) -> str:
    """Name of the layer that a group or a projection is a part of."""
    return layer.candidate.name.partition("[")[0]


def _merged(parts: list[LayerAnalysis]) -> list[LayerAnalysis]:
    """One row for the many groups of a convolution that are left for one reason."""
    reasons = {part.reason for part in parts}
    if len(parts) == 1 or len(reasons) > 1 or "" in reasons:
        return parts
    reason = f"{len(parts)} groups, of each {parts[0].reason}"
    whole = replace(parts[0].candidate, name=_whole(parts[0]))
    return [LayerAnalysis(whole, None, reason)]


def tabulate(layers: Sequence[LayerAnalysis], measures: Sequence[str] = DEFAULT_MEASURES) -> pd.DataFrame:
    """The table of `analyse`.

    Raises:
        UnknownName: No such measure.
    """
    for name in measures:
        MEASURES[name]
    return pd.DataFrame([_row(layer, measures) for layer in layers], columns=_columns(measures))


def _columns(measures: Sequence[str]) -> list[str]:
    return ["layer", "kind", "rows", "cols", *measures, "null_distance", "reason"]


def _row(layer: LayerAnalysis, measures: Sequence[str]) -> dict[str, Any]:
    rows, cols = layer.candidate.shape or (None, None)
    row = {"layer": layer.candidate.name, "kind": layer.candidate.kind, "rows": rows, "cols": cols}
    if layer.subject is None or layer.subject.fit is None:
        return {**row, **dict.fromkeys(measures), "reason": layer.reason}
    numbers = measure(layer.subject, measures)
    return {**row, **numbers, "null_distance": layer.subject.fit.distance_null_quantile, "reason": ""}


def pictures(layers: Sequence[LayerAnalysis]) -> Iterator[tuple[str, Figure]]:
    """For each fitted layer its spectrum, linear and logarithmic, and its quantiles, with a file name each."""
    for layer in layers:
        if layer.subject is None or layer.subject.fit is None:
            continue
        values, found, name = layer.subject.spectrum, layer.subject.fit, layer.candidate.name
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "weight"
        title = f"{name} ({values.rows} × {values.cols})"
        yield f"{stem}.spectrum.png", plot.spectrum(values, found, title=title)
        yield f"{stem}.spectrum-log.png", plot.spectrum(values, found, log=True, title=title)
        yield f"{stem}.quantiles.png", plot.quantiles(values, found, title=title)
