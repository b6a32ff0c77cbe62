"""Heat maps: the objective over each pair of swept dimensions, averaged over the others."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pandas as pd

from sweeps.report.drawing import Drawing, Path, Text, rectangle
from sweeps.report.evidence import Evidence
from sweeps.report.words import metric_words, shorten, value_text

PAIRS = 6
LEVELS = 8  # values of a dimension up to which each has its own row; more make quintiles, named by their ends
CELL, LABELS, ACROSS = 30.0, 116.0, 2
BLOCK = 440.0


def heat_maps(evidence: Evidence) -> Drawing | None:
    """One map a pair of dimensions, pruned trials; None with fewer than two dimensions that vary."""
    column = evidence.objective.column
    if column not in evidence.trials:
        return None
    trials = evidence.trials[evidence.trials["twin"].notna() | (evidence.trials["role"] != "twin")].dropna(
        subset=[column]
    )
    levels = {path: _levels(trials[path]) for path in evidence.dimensions if path in trials}
    varying = [path for path, level in levels.items() if level.nunique() > 1]
    pairs = list(combinations(varying, 2))[:PAIRS]
    if not pairs:
        return None
    maps = [_means(trials[column].astype(float), levels[down], levels[along]) for down, along in pairs]
    low, high = min(float(m.min().min()) for m in maps), max(float(m.max().max()) for m in maps)
    heights = [max(len(m) for m in maps[k : k + ACROSS]) * CELL + 74 for k in range(0, len(maps), ACROSS)]
    title = f"Mean {metric_words(evidence.objective.metric)} over pairs of dimensions"
    drawing = Drawing("heatmaps", 880, 8 + sum(heights), title, f"Values from {low:.4f} to {high:.4f}.")
    for place, (pair, means) in enumerate(zip(pairs, maps, strict=True)):
        row, side = divmod(place, ACROSS)
        names = tuple(evidence.dimensions[path] for path in pair)
        _map(drawing, means, (names[0], names[1]), (side * BLOCK, 8 + sum(heights[:row])), (low, high))
    return drawing


def _map(
    drawing: Drawing,
    means: pd.DataFrame,
    names: tuple[str, str],
    corner: tuple[float, float],
    ends: tuple[float, float],
) -> None:
    left, top = corner[0] + LABELS, corner[1] + 44
    wide = min((BLOCK - LABELS - 12) / means.shape[1], 90.0)
    drawing.add(Text(left, top - 24, f"{names[0]} (down) × {names[1]} (across)", size=11.5, bold=True))
    for j, label in enumerate(means.columns):
        drawing.add(
            Text(left + (j + 0.5) * wide, top - 6, shorten(str(label), int(wide / 6)), "middle", 10.5, "muted")
        )
    for i, (name, values) in enumerate(means.iterrows()):
        y = top + i * CELL
        drawing.add(Text(left - 6, y + CELL / 2 + 4, shorten(str(name), 18), "end", 10.5, "muted"))
        for j, value in enumerate(values):
            if np.isfinite(value):
                share = (value - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.5
                cell = rectangle(left + j * wide + 1, y + 1, wide - 2, CELL - 2)
                drawing.add(Path([cell], None, fill="blue", opacity=0.06 + 0.54 * share))
                if wide >= 40:
                    drawing.add(Text(left + (j + 0.5) * wide, y + CELL / 2 + 4, f"{value:.4f}", "middle", 10.5))


def _means(values: pd.Series, down: pd.Series, along: pd.Series) -> pd.DataFrame:
    """Rows and columns in the order of the levels, which are ordered categories."""
    frame = pd.DataFrame({"value": values, "down": down, "along": along})
    return frame.pivot_table("value", "down", "along", aggfunc="mean", observed=True)


def _levels(values: pd.Series) -> pd.Series:
    """Each value as an ordered category; numbers with many values as quintiles."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and numbers.nunique() > LEVELS:
        bins = pd.qcut(numbers, 5, duplicates="drop")
        names = {one: f"≤ {one.right:.3g}" for one in bins.cat.categories}
        return bins.cat.rename_categories(names)
    texts = sorted({value_text(value) for value in values.dropna()}, key=_natural)[: 3 * LEVELS]
    return pd.Series(pd.Categorical(values.map(value_text), categories=texts, ordered=True), index=values.index)


def _natural(text: str) -> tuple[list[float], str]:
    """Order of people: by the numbers in a text, then by its letters."""
    return [float(number) for number in re.findall(r"\d+\.?\d*(?:e-?\d+)?", text)], text
