"""Pictures of a sweep: parallel coordinates, heat maps, importance of dimensions, accuracy against size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from sweeps.choosing import front
from sweeps.metrics import better
from sweeps.pictures import COLOURS, SMALL, canvas, label, plain

MAP = "cividis"
MOST_TRIALS, MOST_PAIRS, MOST_VALUES = 500, 6, 12
QUARTERS = 6  # a numeric dimension of more values than these is grouped by its quarters
METHOD = "η², the share of the variance between trials that is between its values"
_BEHIND = {"facecolor": COLOURS["paper"], "edgecolor": "none", "alpha": 0.8, "pad": 0.8}


def parallel(trials: pd.DataFrame, dimensions: Sequence[str], column: str, title: str) -> Figure | None:
    """A line a trial through its value of every dimension, coloured by a number; None without two trials."""
    table = trials.dropna(subset=[column]).tail(MOST_TRIALS)
    shown = [one for one in dimensions if one in table and table[one].nunique(dropna=False) > 1]
    if len(table) < 2 or not shown:
        return None
    figure = canvas(title, width=max(6.0, 1.9 * (len(shown) + 1)), height=4.2)
    [axes] = figure.axes
    places = np.column_stack([*(_heights(table[one])[0] for one in shown), _heights(table[column])[0]])
    norm = Normalize(table[column].min(), table[column].max())
    order = table[column].to_numpy().argsort(kind="stable")
    for place in order if better(column.rpartition(".")[0]) == "max" else order[::-1]:
        colour = colormaps[MAP](norm(table[column].iloc[place]))
        axes.plot(range(len(shown) + 1), places[place], color=colour, linewidth=1.1, alpha=0.8)
    for position, name in enumerate([*shown, column]):
        axes.axvline(position, color=COLOURS["muted"], linewidth=0.8)
        for height, text in _ticks(table[name]):
            axes.text(position + 0.02, height, plain(text, 18), fontsize=SMALL - 1, va="center", bbox=_BEHIND)
    axes.set_xticks(range(len(shown) + 1), [plain(name, 28) for name in [*shown, column]], fontsize=SMALL)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return figure


def _heights(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Places in [0, 1]: numbers along their range, anything else in the order of its names, nothing below."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().any() and numbers.isna().equals(values.isna()):
        low, high = numbers.min(), numbers.max()
        return ((numbers - low) / ((high - low) or 1.0)).fillna(-0.1).to_numpy(dtype=float), []
    names = sorted(values.dropna().astype(str).unique())
    step = {name: place / max(1, len(names) - 1) for place, name in enumerate(names)}
    return values.map(lambda v: step.get(str(v), -0.1)).to_numpy(dtype=float), names


def _ticks(values: pd.Series) -> list[tuple[float, str]]:
    places, names = _heights(values)
    if names:
        return [(place / max(1, len(names) - 1), name) for place, name in enumerate(names[:MOST_VALUES])]
    numbers = pd.to_numeric(values, errors="coerce").dropna()
    ticks = [(0.0, f"{numbers.min():.4g}"), (1.0, f"{numbers.max():.4g}")]
    return ticks if (places >= 0).all() else [*ticks, (-0.1, "–")]


def heat_maps(trials: pd.DataFrame, dimensions: Sequence[str], column: str, title: str) -> Figure | None:
    """Mean of a number for each pair of values of two dimensions, a map a pair; None without a pair."""
    table = trials.dropna(subset=[column])
    shown = [one for one in dimensions if one in table and 1 < table[one].nunique() <= MOST_VALUES]
    pairs = list(itertools.combinations(shown, 2))[:MOST_PAIRS]
    if not pairs:
        return None
    columns = min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = canvas(title, rows, columns, width=3.6 * columns + 0.6, height=3.1 * rows + 0.5)
    low, high = table[column].min(), table[column].max()
    for axes, pair in itertools.zip_longest(figure.axes, pairs):
        if pair is None:
            axes.set_axis_off()
            continue
        grid = table.pivot_table(values=column, index=pair[0], columns=pair[1], aggfunc="mean")
        drawn = axes.imshow(grid.to_numpy(dtype=float), cmap=MAP, vmin=low, vmax=high, aspect="auto")
        axes.set_xticks(
            range(grid.shape[1]), [plain(str(v), 14) for v in grid.columns], fontsize=SMALL, rotation=30
        )
        axes.set_yticks(range(grid.shape[0]), [plain(str(v), 14) for v in grid.index], fontsize=SMALL)
        label(axes, pair[1], pair[0])
    figure.colorbar(drawn, ax=figure.axes, shrink=0.8).set_label(plain(column), fontsize=SMALL)
    return figure


def importances(trials: pd.DataFrame, dimensions: Sequence[str], column: str) -> pd.Series:
    """η² of each dimension: the sum of squares between its groups over the total one, of the trials' numbers.

    A dimension that a trial does not have (a twin's aggressiveness) is a group of its own. Dimensions explain
    together; shares need not add up to one.

    Source: the one-way analysis of variance; η² in Cohen, Statistical Power Analysis (1988), section 8.2.
    """
    table = trials.dropna(subset=[column])
    total = ((table[column] - table[column].mean()) ** 2).sum()
    found = {}
    for one in dimensions:
        if one not in table or table[one].nunique(dropna=False) < 2 or not total > 0:
            continue
        groups = table.groupby(_grouped(table[one]), observed=True)[column]
        between = (groups.size() * (groups.mean() - table[column].mean()) ** 2).sum()
        found[one] = float(between / total)
    return pd.Series(found, dtype=float).sort_values()


def _grouped(values: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > QUARTERS:
        values = pd.qcut(values, 4, duplicates="drop")
    return values.astype(str)


def importance(trials: pd.DataFrame, dimensions: Sequence[str], column: str, title: str) -> Figure | None:
    """How much of the scatter between trials each dimension accounts for, by `METHOD`; None of nothing."""
    shares = importances(trials, dimensions, column)
    if shares.empty:
        return None
    figure = canvas(title, height=1.5 + 0.35 * len(shares))
    [axes] = figure.axes
    axes.barh([plain(name, 40) for name in shares.index], shares.to_numpy(), color=COLOURS["blue"], height=0.6)
    for place, share in enumerate(shares):
        axes.text(share + 0.01, place, f"{share:.2f}", va="center", fontsize=SMALL)
    axes.set_xlim(0, 1.08)
    label(axes, METHOD, "")
    axes.xaxis.label.set_fontsize(SMALL)
    return figure


def accuracy_against_size(trials: pd.DataFrame, metric: str, title: str) -> Figure | None:
    """Mean of a metric against the share of parameters kept, with the Pareto front; None without both numbers."""
    size, column = "parameters_kept.mean", f"{metric}.mean"
    if not {size, column} <= set(trials):
        return None
    table = trials.dropna(subset=[size, column])
    if table.empty:
        return None
    figure = canvas(title)
    [axes] = figure.axes
    label(axes, "share of the unpruned network's parameters that is kept", f"mean {metric.replace('_', ' ')}")
    for number, (role, rows) in enumerate(table.groupby("role")):
        half = rows[f"{metric}.ci_high"] - rows[column] if f"{metric}.ci_high" in rows else None
        colour = COLOURS["blue" if role == "pruned" else "orange"]
        axes.errorbar(
            rows[size],
            rows[column],
            yerr=half,
            fmt="os"[number % 2],
            color=colour,
            markersize=4,
            linewidth=0.8,
            label=str(role),
        )
    best = front(table, {column: better(metric), size: "min"}).sort_values(size)
    axes.step(
        best[size], best[column], where="post", color=COLOURS["vermillion"], linestyle="--", label="Pareto front"
    )
    figure.legend(loc="outside lower center", ncols=3, fontsize=SMALL, frameon=False)
    return figure
