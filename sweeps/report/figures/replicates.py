"""Distributions: every replicate of every trial, with the mean and its interval."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from sweeps.report.drawing import Cloud, Drawing, Marks, Path, Text
from sweeps.report.evidence import Evidence
from sweeps.report.figures.columns import Columns
from sweeps.report.legends import mark_legend
from sweeps.report.panel import Panel
from sweeps.report.raster import coverage
from sweeps.report.scales import Linear, Rows
from sweeps.report.words import metric_words

LISTED = 48  # trials up to which each has a row of its own with its settings beside it
ROW = 21.0
POINT = 5.5
BROKEN = ("n_diverged", "n_failed", "n_stopped")


def distributions(evidence: Evidence, metric: str) -> Drawing | None:
    """Every replicate's `metric`, trials in the order of the objective; None while there is no value."""
    if metric not in evidence.table or evidence.table[metric].notna().sum() == 0:
        return None
    few = len(evidence.trials) <= LISTED
    return _listed(evidence, metric) if few else _ranked(evidence, metric)


def _listed(evidence: Evidence, metric: str) -> Drawing:
    """A row a trial: settings as text, replicates as points."""
    trials, height = evidence.trials, ROW * len(evidence.trials)
    columns = Columns.of(evidence, trials)
    left = 12 + columns.width
    width = max(left + 440, 860)
    drawing = Drawing(
        "replicates", width, height + 92, f"{metric_words(metric)} of every replicate", _describe(evidence, metric)
    )
    scale = _scale(evidence, metric)
    panel = Panel(drawing, left, 46, width - left - 18, height, scale, Rows([""] * len(trials)))
    panel.frame(f"{metric_words(metric)} (points: replicates; bar: mean with its 95 % interval)", grid="x")
    mark_legend(drawing, evidence.arms.values(), left, 20)
    columns.draw(drawing, panel.top, ROW)
    for place, (_, trial) in enumerate(trials.iterrows()):
        _row(panel, evidence, trial, metric, panel.top + ROW * (place + 0.5))
    return drawing


def _row(panel: Panel, evidence: Evidence, trial: pd.Series, metric: str, y: float) -> None:
    arm = evidence.arms[trial["arm"]]
    values = evidence.replicates(trial["trial_id"])[metric].dropna().astype(float)
    across = [panel.left + panel.x.at(value) * panel.width for value in values]
    if values.empty:
        panel.drawing.add(Text(panel.left + 8, y + 4, _why_empty(trial), size=10, colour="muted"))
    low, high, mean = (trial.get(f"{metric}.{end}", np.nan) for end in ("ci_low", "ci_high", "mean"))
    if np.isfinite([low, high]).all():
        ends = [(panel.left + min(max(panel.x.at(end), 0), 1) * panel.width, y) for end in (low, high)]
        panel.drawing.add(Path([ends], arm.colour, 5, opacity=0.3))
    panel.drawing.add(Marks(_swarm(across, y), arm.mark, arm.colour, POINT, arm.filled, 0.85))
    if np.isfinite(mean):
        x = panel.left + panel.x.at(mean) * panel.width
        panel.drawing.add(Path([[(x, y - 8), (x, y + 8)]], "ink", 1.8))


def _why_empty(trial: pd.Series) -> str:
    counts = [f"{int(trial[name])} {name.removeprefix('n_')}" for name in BROKEN if trial.get(name, 0) > 0]
    return "no value" + (f": {', '.join(counts)}" if counts else " yet")


def _swarm(across: Iterable[float], y: float) -> list[tuple[float, float]]:
    """Points that would cover each other, moved up and down by turns."""
    placed: list[tuple[float, float]] = []
    for x in sorted(across):
        near = {round(py - y, 1) for px, py in placed if x - px < POINT}
        free = [move for move in (0.0, -4.5, 4.5, -8.5, 8.5) if move not in near]
        placed.append((x, y + (free[0] if free else 0.0)))
    return placed


def _ranked(evidence: Evidence, metric: str) -> Drawing:
    """Trials along the axis in the order of the objective, replicates above each other, a panel an arm."""
    title = f"{metric_words(metric)} of every replicate"
    drawing = Drawing("replicates", 860, 60 + 190 * len(evidence.arms), title, _describe(evidence, metric))
    ranks = Linear(0.0, len(evidence.trials) + 1.0, 8)
    for place, arm in enumerate(evidence.arms.values()):
        panel = Panel(drawing, 66, 28 + 190 * place, 776, 146, ranks, _scale(evidence, metric, steps=4))
        last = place == len(evidence.arms) - 1
        panel.frame("trials, best first by the objective" if last else "", metric_words(metric), title=arm.name)
        rows = evidence.table[(evidence.table["arm"] == arm.name) & evidence.table[metric].notna()]
        points = [panel.at(x, y) for x, y in zip(rows["number"], rows[metric].astype(float), strict=True)]
        if evidence.is_crowded:
            inside = [(x - panel.left, y - panel.top) for x, y in points]
            seen = coverage(inside, panel.width, panel.height, mark="circle", size=3.2, opacity=0.4)
            drawing.add(Cloud(panel.left, panel.top, panel.width, panel.height, seen, arm.colour))
        else:
            drawing.add(Marks(points, arm.mark, arm.colour, 4, arm.filled, 0.6))
    return drawing


def _scale(evidence: Evidence, metric: str, steps: int = 6) -> Linear:
    within = (0.0, 1.0) if metric.endswith("accuracy") else (-np.inf, np.inf)
    return Linear.over(evidence.table[metric].dropna().astype(float), steps=steps, least=0.01, within=within)


def _describe(evidence: Evidence, metric: str) -> str:
    parts = []
    for arm, rows in evidence.table.groupby("arm"):
        values = rows[metric].dropna().astype(float)
        if len(values):
            parts.append(
                f"{arm}: {len(values)} replicates from {values.min():.4f} to {values.max():.4f}, "
                f"median {values.median():.4f}."
            )
    return " ".join(parts)
