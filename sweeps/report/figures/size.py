"""Accuracy against size: what a share of the parameters costs or brings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from sweeps.report.drawing import Anchor, Cloud, Drawing, Path, Point, Text
from sweeps.report.evidence import Evidence
from sweeps.report.legends import mark_legend
from sweeps.report.panel import Panel, Span
from sweeps.report.raster import coverage
from sweeps.report.scales import Linear, Log, Scale
from sweeps.report.words import metric_words

SIZE = "parameters_kept"
GOLDEN = (math.sqrt(5) - 1) / 2
LINKS = 60  # trials up to which each is joined to its twin
Spans: TypeAlias = Sequence[Span | None]


def accuracy_against_size(evidence: Evidence, metric: str) -> Drawing | None:
    """Mean of `metric` against the mean share of parameters kept, 95 % intervals both ways.

    Returns:
        None while no trial has both numbers.
    """
    columns = [f"{SIZE}.mean", f"{metric}.mean"]
    if not set(columns) <= set(evidence.trials.columns):
        return None
    trials = evidence.trials.dropna(subset=columns)
    if trials.empty:
        return None
    title = f"{metric_words(metric)} against parameters kept"
    drawing = Drawing("size", 860, 440, title, _describe(trials, metric))
    scales = _size_scale(trials), _metric_scale(trials, metric, evidence.is_crowded)
    panel = Panel(drawing, 66, 40, 776, 346, *scales)
    panel.frame("share of the unpruned network's parameters that is kept", f"mean {metric_words(metric)}")
    mark_legend(drawing, evidence.arms.values(), 68, 22)
    places = _beside(panel, trials, metric)
    if evidence.is_crowded:
        _clouds(panel, evidence, trials, metric, places)
    else:
        _links(panel, trials, places)
        _points(panel, evidence, trials, metric, places)
    _ring(panel, evidence, places)
    return drawing


def _points(
    panel: Panel, evidence: Evidence, trials: pd.DataFrame, metric: str, places: Mapping[str, Point]
) -> None:
    for arm in evidence.arms.values():
        rows = trials[trials["arm"] == arm.name]
        points = [places[trial] for trial in rows["trial_id"]]
        panel.bars(points, _spans(rows, SIZE), _spans(rows, metric), arm.colour, opacity=0.55)
        notes = [
            f"#{row['number']} ({arm.name}): {evidence.settings(row)}; "
            f"kept {row[f'{SIZE}.mean']:.3f}, {metric_words(metric)} {row[f'{metric}.mean']:.4f}"
            for _, row in rows.iterrows()
        ]
        panel.marks(points, arm.mark, arm.colour, 8, arm.filled, notes=notes)


def _beside(panel: Panel, trials: pd.DataFrame, metric: str) -> dict[str, Point]:
    """Where each trial is drawn: those of exactly equal size, as unpruned ones are, side by side around it."""
    pixel = (panel.x.high - panel.x.low) / panel.width if isinstance(panel.x, Linear) else 0.0
    places: dict[str, Point] = {}
    for size, rows in trials.groupby(f"{SIZE}.mean"):
        ordered = rows.sort_values([f"{metric}.mean", "trial_id"])
        spread = min(7.0 * (len(ordered) - 1), 42.0) * pixel
        for order, (trial, value) in enumerate(zip(ordered["trial_id"], ordered[f"{metric}.mean"], strict=True)):
            # Multiples of the golden ratio never come close to each other: neighbours in value end up apart.
            shift = (order * GOLDEN + 0.5) % 1.0 - 0.5
            places[trial] = (float(str(size)) + shift * spread, float(value))
    return places


def _clouds(
    panel: Panel, evidence: Evidence, trials: pd.DataFrame, metric: str, places: Mapping[str, Point]
) -> None:
    for arm in evidence.arms.values():
        pixels = [panel.at(*places[trial]) for trial in trials.loc[trials["arm"] == arm.name, "trial_id"]]
        inside = [(x - panel.left, y - panel.top) for x, y in pixels]
        seen = coverage(inside, panel.width, panel.height, mark=arm.mark, size=6, opacity=0.45)
        panel.drawing.add(Cloud(panel.left, panel.top, panel.width, panel.height, seen, arm.colour))
    _typical_interval(panel, trials, metric, [panel.at(*place) for place in places.values()])


def _typical_interval(panel: Panel, trials: pd.DataFrame, metric: str, taken: Sequence[Point]) -> None:
    """One cross with the median half intervals instead of thousands of bars, in the emptiest corner."""
    halves = [_half(trials, name) for name in (SIZE, metric)]
    if not all(np.isfinite(halves)) or not isinstance(panel.x, Linear) or not isinstance(panel.y, Linear):
        return
    wide = max(halves[0] / (panel.x.high - panel.x.low) * panel.width, 3.0)
    tall = halves[1] / (panel.y.high - panel.y.low) * panel.height
    lefts = (panel.left + 14 + wide, panel.left + panel.width - 190 - wide)
    heights = (panel.top + panel.height - 14 - tall, panel.top + 14 + tall)
    corners = [(x, y) for x in lefts for y in heights]

    def crowd(corner: Point) -> int:
        return sum(abs(x - corner[0] - 80) < 100 + wide and abs(y - corner[1]) < tall + 10 for x, y in taken)

    x, y = min(corners, key=crowd)
    panel.drawing.add(Path([[(x - wide, y), (x + wide, y)], [(x, y - tall), (x, y + tall)]], "ink", 1.4))
    panel.drawing.add(Text(x + wide + 8, y + 4, "median 95 % interval of a trial", halo=True))


def _half(trials: pd.DataFrame, name: str) -> float:
    if f"{name}.ci_high" not in trials:
        return float("nan")
    halves = (trials[f"{name}.ci_high"] - trials[f"{name}.ci_low"]).dropna() / 2
    return float(halves.median()) if len(halves) else float("nan")


def _links(panel: Panel, trials: pd.DataFrame, places: Mapping[str, Point]) -> None:
    if len(trials) > LINKS:
        return
    for trial, twin in zip(trials["trial_id"], trials["twin"], strict=True):
        if twin in places:
            panel.line([places[twin], places[trial]], "muted", 0.8, opacity=0.35)


def _ring(panel: Panel, evidence: Evidence, places: Mapping[str, Point]) -> None:
    """The best trial by the objective is named in the picture."""
    best = evidence.best
    if best is None or best["trial_id"] not in places:
        return
    x, y = panel.at(*places[best["trial_id"]])
    around = [(x + 8.5 * math.cos(turn), y + 8.5 * math.sin(turn)) for turn in np.linspace(0, 2 * np.pi, 49)]
    panel.drawing.add(Path([around], "ink", 1.5))
    side: Anchor = "end" if x > panel.left + panel.width * 0.8 else "start"
    panel.drawing.add(
        Text(x + (-13 if side == "end" else 13), y - 8, f"#{best['number']} best", side, bold=True, halo=True)
    )


def _size_scale(trials: pd.DataFrame) -> Scale:
    shares = [
        value
        for end in ("mean", "ci_low", "ci_high")
        if f"{SIZE}.{end}" in trials
        for value in trials[f"{SIZE}.{end}"]
    ]
    means = trials[f"{SIZE}.mean"]
    if means.min() > 0 and means.max() / means.min() > 20:
        return Log.over(means)
    return Linear.over(shares, steps=8, pad=0.06, least=0.1, within=(0.0, 1.04))


def _metric_scale(trials: pd.DataFrame, metric: str, crowded: bool) -> Linear:
    ends = ["mean"] if crowded else ["mean", "ci_low", "ci_high"]
    values = [value for end in ends if f"{metric}.{end}" in trials for value in trials[f"{metric}.{end}"]]
    within = (0.0, 1.0) if metric.endswith("accuracy") else (-np.inf, np.inf)
    return Linear.over(values, steps=6, least=0.01, within=within)


def _spans(rows: pd.DataFrame, name: str) -> Spans:
    if f"{name}.ci_low" not in rows:
        return [None] * len(rows)
    ends = zip(rows[f"{name}.ci_low"].astype(float), rows[f"{name}.ci_high"].astype(float), strict=True)
    return [(low, high) if np.isfinite([low, high]).all() else None for low, high in ends]


def _describe(trials: pd.DataFrame, metric: str) -> str:
    parts = [
        f"{arm}: {len(rows)} trials, parameters kept {rows[f'{SIZE}.mean'].min():.3f} to "
        f"{rows[f'{SIZE}.mean'].max():.3f}, {metric_words(metric)} {rows[f'{metric}.mean'].min():.4f} to "
        f"{rows[f'{metric}.mean'].max():.4f}."
        for arm, rows in trials.groupby("arm")
    ]
    return " ".join(parts)
