"""Pictures of one trial: the curves of all its replicates, their mean and its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.special import stdtrit

from sweeps.pictures import COLOURS, canvas, label, legend

LEVEL = 0.95
MOST_LINES = 60
History = Sequence[Mapping[str, Any]]


def curves(histories: Mapping[str, History], metrics: Sequence[str], title: str) -> Figure | None:
    """A metric over the epochs for every replicate, with the mean and its interval (Student t, 95 %).

    Args:
        histories: Rows by epoch, of each replicate.
        metrics: One panel each.
        title: Above the picture.

    Returns:
        None when no replicate has any of the metrics.
    """
    tables = {metric: _table(histories.values(), metric) for metric in metrics}
    shown = {metric: table for metric, table in tables.items() if np.isfinite(table).any()}
    if not shown:
        return None
    figure = canvas(title, 1, len(shown), width=4.6 * len(shown) + 0.6, height=3.6)
    for axes, (metric, table) in zip(figure.axes, shown.items(), strict=True):
        label(axes, "epoch", metric.replace("_", " "))
        _draw(axes, table)
    return figure


def _table(histories: Sequence[History] | Any, metric: str) -> NDArray[np.float64]:
    """(replicate, epoch), NaN where there is nothing."""
    rows = [
        {int(row["epoch"]): float(row[metric]) for row in history if row.get(metric) is not None}
        for history in histories
    ]
    last = max((max(row, default=0) for row in rows), default=0)
    values = [[row.get(epoch, np.nan) for epoch in range(1, last + 1)] for row in rows]
    return np.array(values, dtype=float).reshape(len(rows), last)


def _draw(axes: Axes, table: NDArray[np.float64]) -> None:
    epochs = np.arange(1, table.shape[1] + 1)
    for row in table[:MOST_LINES]:
        axes.plot(epochs, row, color=COLOURS["muted"], linewidth=0.7, alpha=0.6)
    counts = np.isfinite(table).sum(axis=0)
    whole = counts > 0
    mean = np.full(len(epochs), np.nan)
    mean[whole] = np.nansum(table[:, whole], axis=0) / counts[whole]
    several = counts > 1
    if several.any():
        squares = np.nansum((table[:, several] - mean[several]) ** 2, axis=0) / (counts[several] - 1)
        half = stdtrit(counts[several] - 1, 0.5 + LEVEL / 2) * np.sqrt(squares / counts[several])
        low, high = mean[several] - half, mean[several] + half
        axes.fill_between(
            epochs[several], low, high, color=COLOURS["blue"], alpha=0.25, linewidth=0, label="95 % of the mean"
        )
    axes.plot(epochs, mean, color=COLOURS["blue"], linewidth=1.8, label=f"mean of {table.shape[0]} replicates")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes, 2)
