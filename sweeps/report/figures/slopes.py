"""Paired slopes: the same seed without and with pruning, joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sweeps.report.drawing import Drawing, Marks, Path, Text
from sweeps.report.evidence import Evidence
from sweeps.report.legends import Stroke, line_legend
from sweeps.report.panel import Panel
from sweeps.report.scales import Linear, Rows
from sweeps.report.words import is_missing, metric_words, shorten, value_text

SHOWN = 6  # trials, the best ones; more panels than this are not compared by eye
ACROSS = 3
FLAT = 4.0  # times the median panel's range, from which on a common scale shows little
STROKES = [
    Stroke("higher when pruned", "blue"),
    Stroke("lower when pruned", "vermillion", 1.5, (4.0, 3.0)),
    Stroke("mean", "ink", 2.4),
]
SEEDS = ["seeds.initialisation", "seeds.data_order", "seeds.split"]


def paired_slopes(evidence: Evidence, metric: str) -> Drawing | None:
    """A panel for each of the best pruned trials, a line a seed; None while none shares a seed with its twin."""
    found = _pairs(evidence, metric)
    if not found:
        return None
    lines = -(-len(found) // ACROSS)
    title = f"{metric_words(metric)} of the same seed, unpruned and pruned"
    drawing = Drawing("slopes", 860, 30 + 256 * lines, title, _describe(found))
    scales = _scales([pairs for _, pairs in found], metric)
    line_legend(drawing, STROKES, 62, 20)
    for place, (trial, pairs) in enumerate(found):
        row, column = divmod(place, ACROSS)
        arms = Rows(["unpruned", trial["arm"]])
        panel = Panel(drawing, 62 + 272 * column, 76 + 256 * row, 206, 176, arms, scales[place])
        panel.frame(grid="y", y_label=metric_words(metric) if column == 0 else "")
        _title(panel, evidence, trial)
        _lines(panel, pairs, evidence.arms[trial["arm"]].colour)
    return drawing


def _pairs(evidence: Evidence, metric: str) -> list[tuple[pd.Series, pd.DataFrame]]:
    """(trial, columns `twin` and `own` of `metric`, a row a common seed) for the best trials that have a twin."""
    if metric not in evidence.table:
        return []
    found: list[tuple[pd.Series, pd.DataFrame]] = []
    for _, trial in evidence.trials[evidence.trials["twin"].notna()].iterrows():
        sides = [
            evidence.table[evidence.table["trial_id"] == one].set_index(_seeds(evidence))[metric].astype(float)
            for one in (trial["twin"], trial["trial_id"])
        ]
        pairs = pd.concat(sides, axis=1, keys=["twin", "own"], join="inner").dropna()
        if len(pairs):
            found.append((trial, pairs))
        if len(found) == SHOWN:
            break
    return found


def _scales(found: Sequence[pd.DataFrame], metric: str) -> list[Linear]:
    """One scale for all panels, so that they can be compared; one each where that would flatten most of them."""
    within = (0.0, 1.0) if metric.endswith("accuracy") else (-np.inf, np.inf)
    ranges = [float(np.ptp(pairs.to_numpy())) for pairs in found]
    everything = np.concatenate([pairs.to_numpy().ravel() for pairs in found])
    if float(np.ptp(everything)) <= FLAT * float(np.median(ranges)):
        return [Linear.over(everything, steps=5, least=0.01, within=within)] * len(found)
    return [Linear.over(pairs.to_numpy().ravel(), steps=5, least=0.01, within=within) for pairs in found]


def _seeds(evidence: Evidence) -> list[str]:
    return [column for column in SEEDS if column in evidence.table]


def _lines(panel: Panel, pairs: pd.DataFrame, colour: str) -> None:
    x0, x1 = (panel.left + panel.x.at(side) * panel.width for side in (0, 1))
    rising = pairs["own"] >= pairs["twin"]
    for chosen, line, dash in ((rising, colour, ()), (~rising, "vermillion", (4.0, 3.0))):
        segments = [
            [(x0, panel.at(0, twin)[1]), (x1, panel.at(0, own)[1])] for twin, own in pairs[chosen].to_numpy()
        ]
        panel.drawing.add(Path(segments, line, 1.3, dash, opacity=0.75))
    for side, x, mark, shade, filled in (
        ("twin", x0, "square", "vermillion", False),
        ("own", x1, "circle", colour, True),
    ):
        points = [(x, panel.at(0, value)[1]) for value in pairs[side]]
        panel.drawing.add(Marks(points, "square" if mark == "square" else "circle", shade, 6, filled))
        y = panel.at(0, float(pairs[side].mean()))[1]
        outward = -16 if side == "twin" else 16
        panel.drawing.add(Path([[(x + outward - 9, y), (x + outward + 9, y)]], "ink", 2.4))


def _title(panel: Panel, evidence: Evidence, trial: pd.Series) -> None:
    """The trial's number, and below it the values of the swept dimensions."""
    values = [
        value_text(trial[path]) for path in evidence.dimensions if path in trial and not is_missing(trial[path])
    ]
    panel.drawing.add(Text(panel.left, panel.top - 24, f"#{trial['number']}", size=12, bold=True))
    panel.drawing.add(Text(panel.left, panel.top - 10, shorten(" · ".join(values), 46), size=10, colour="muted"))


def _describe(found: list[tuple[pd.Series, pd.DataFrame]]) -> str:
    parts = []
    for trial, pairs in found:
        change = pairs["own"] - pairs["twin"]
        parts.append(
            f"Trial #{trial['number']}: {int((change > 0).sum())} of {len(pairs)} seeds higher when pruned, "
            f"mean change {change.mean():+.4f}."
        )
    return " ".join(parts)
