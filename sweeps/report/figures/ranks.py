"""Ranks over epochs: how the layers of one trial shrink, replicate by replicate."""

from __future__ import annotations

import pandas as pd

from sweeps.report.drawing import Drawing, Path
from sweeps.report.legends import Stroke, line_legend
from sweeps.report.panel import Panel
from sweeps.report.scales import Linear
from sweeps.report.words import shorten

ACROSS = 3
SHOWN = 12  # layers
STROKES = [
    Stroke("replicate", "blue", 1.0),
    Stroke("mean rank", "blue", 2.4),
    Stroke("mean number of spikes", "green", 1.6, (2.0, 3.0)),
    Stroke("two factors are smaller below this rank", "vermillion", 1.0, (5.0, 3.0)),
]


def ranks_over_epochs(fits: pd.DataFrame, epochs: int, name: str = "ranks") -> Drawing | None:
    """A panel a layer, a line a replicate; the mean rank and the mean number of spikes in front.

    Args:
        fits: `ranks_of` a trial: replicate_id, layer, epoch, rank_before, rank, rows, cols, spikes.
        epochs: Length of the training.
    """
    if fits.empty or not {"rank", "rank_before"} <= set(fits.columns):
        return None
    cut = fits[fits["status"] == "cut"] if "status" in fits else fits
    layers = list(dict.fromkeys(cut["layer"] if len(cut) else fits["layer"]))[:SHOWN]
    lines = -(-len(layers) // ACROSS)
    drawing = Drawing(
        name, 860, 34 + 226 * lines, "Rank of each pruned layer over epochs", _describe(fits, layers)
    )
    line_legend(drawing, STROKES, 62, 20)
    for place, layer in enumerate(layers):
        row, column = divmod(place, ACROSS)
        rows = fits[fits["layer"] == layer]
        full = int(rows["rank_before"].max())
        panel = Panel(
            drawing, 62 + 272 * column, 62 + 226 * row, 220, 150, Linear(0, epochs, 5), Linear(0, full * 1.06, 4)
        )
        size = f"{int(rows['rows'].iloc[0])} × {int(rows['cols'].iloc[0])}" if "rows" in rows else ""
        panel.frame("epoch", "rank" if column == 0 else "", grid="y", title=f"{shorten(layer, 20)}  {size}")
        _layer(panel, rows, epochs)
    return drawing


def _layer(panel: Panel, rows: pd.DataFrame, epochs: int) -> None:
    segments = [
        [panel.at(x, y) for x, y in _steps(one, "rank_before", "rank", epochs)]
        for _, one in rows.groupby("replicate_id")
    ]
    panel.drawing.add(Path(segments, "blue", 1.0, opacity=0.4))
    numbers = rows.assign(spikes=pd.to_numeric(rows["spikes"]))
    mean = numbers.groupby("epoch", as_index=False)[["rank_before", "rank", "spikes"]].mean()
    panel.line(_steps(mean, "rank_before", "rank", epochs), "blue", 2.4)
    spikes = mean[["epoch", "spikes"]].dropna().astype(float)
    panel.line([(x, y) for x, y in spikes.to_numpy()], "green", 1.6, (2.0, 3.0))
    if {"rows", "cols"} <= set(rows.columns):
        height, width = float(rows["rows"].iloc[0]), float(rows["cols"].iloc[0])
        panel.horizontal(height * width / (height + width), "vermillion", (5.0, 3.0))


def _steps(rows: pd.DataFrame, before: str, after: str, epochs: int) -> list[tuple[float, float]]:
    """The rank before a cut, back to the cut before it, then the fall: a layer left dense fills up in between."""
    points: list[tuple[float, float]] = []
    last = 0.0
    ordered = rows.sort_values("epoch")
    for epoch, high, low in zip(ordered["epoch"], ordered[before], ordered[after], strict=True):
        points += [(last, float(high)), (float(epoch), float(high)), (float(epoch), float(low))]
        last = float(epoch)
    return [*points, (float(epochs), points[-1][1])]


def _describe(fits: pd.DataFrame, layers: list[str]) -> str:
    parts = []
    for layer in layers:
        rows = fits[fits["layer"] == layer]
        last = rows[rows["epoch"] == rows["epoch"].max()]["rank"]
        parts.append(
            f"{layer}: rank {int(rows['rank_before'].max())} at first, "
            f"{int(last.min())} to {int(last.max())} in the end over {len(last)} replicates."
        )
    return " ".join(parts)
