"""Parallel coordinates to look around in: one HTML file that needs no network, a line a trial, a brush an axis.

The lines are inline SVG and are there without the script, which only greys out what a brush leaves out. Text of
the sweep stays text; no other script than ours can run, since the page's policy names ours by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import pandas as pd
from markupsafe import Markup

from sweeps.metrics import better
from sweeps.report.drawing import Drawing, Path, Text
from sweeps.report.legends import Stroke, line_legend
from sweeps.report.page import fill, style
from sweeps.report.scales import Linear, Log, Rows, Scale, Tick
from sweeps.report.svg import to_svg
from sweeps.report.words import setting_text, shorten

MOST_TRIALS, MOST_AXES = 1000, 12
WIDTH_OF_AXIS, HEIGHT, TOP, BOTTOM, LEFT = 180.0, 360.0, 56.0, 16.0, 24.0
LONGEST, LONGEST_NAME, LONGEST_TICK, MOST_TICKS = 60, 24, 14, 24
RATIO_FOR_LOG = 30.0  # numbers above 0 that span more than this are spaced by their ratios
MISSING = 0.08  # share of an axis below its numbers, for trials without a value
STROKES = (
    Stroke("best tenth of the trials", "vermillion", 1.6),
    Stroke("better half", "blue", 1.0),
    Stroke("the others", "muted", 0.8),
)


class Axis(NamedTuple):
    """One dimension, or the number the trials are ranked by.

    Attributes:
        name: What is written above it.
        places: Place of every trial, 0 at the bottom to 1 at the top.
        ticks: Places with what is written there.
        texts: The value of every trial as a person writes it.
    """

    name: str
    places: list[float]
    ticks: list[Tick]
    texts: list[str]


def page(trials: pd.DataFrame, dimensions: Sequence[str], column: str, title: str) -> str | None:
    """The picture as an HTML document, under 1 MB; None without two trials or a dimension that differs.

    Args:
        trials: A row a trial, with `trial_id`.
        dimensions: Columns that get an axis, if trials differ in them; the first `MOST_AXES`.
        column: The number on the last axis, `METRIC.STATISTIC`; the best `MOST_TRIALS` trials by it are shown.
        title: Heading of the page.
    """
    ascending = better(column.rpartition(".")[0]) == "min"
    ranked = trials.dropna(subset=[column]).sort_values([column, "trial_id"], ascending=[ascending, True])
    table = ranked.head(MOST_TRIALS)
    differing = [_axis(name, table[name]) for name in dimensions if name in table]
    shown = [axis for axis in differing if len(set(axis.texts)) > 1]
    if len(table) < 2 or not shown:
        return None
    axes = [*shown[:MOST_AXES], _axis(column, table[column])]
    said = [
        text
        for text in (
            f"{len(ranked) - len(table)} worse trials are left out" if len(ranked) > len(table) else "",
            f"{len(shown) - MOST_AXES} further dimensions are left out" if len(shown) > MOST_AXES else "",
        )
        if text
    ]
    return _render(title, axes, [str(name) for name in table["trial_id"]], said)


def _axis(name: str, values: pd.Series) -> Axis:
    texts = [shorten(setting_text(value) or "—", LONGEST) for value in values]
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    is_number = not pd.api.types.is_bool_dtype(values) and numbers.isna().equals(values.isna())
    finite = [value for value in numbers if math.isfinite(value)]
    if not (is_number and finite):
        return _names(name, texts)
    low, high = min(finite), max(finite)
    scale: Scale = Log.over(finite) if low > 0 and high / low > RATIO_FOR_LOG else Linear.over(finite)
    floor = MISSING if len(finite) < len(texts) else 0.0
    places = [floor + (1 - floor) * scale.at(v) if math.isfinite(v) else 0.0 for v in numbers]
    ticks = [Tick(floor + (1 - floor) * scale.at(tick.value), tick.label) for tick in scale.ticks()]
    return Axis(name, places, [Tick(0.0, "—"), *ticks] if floor else ticks, texts)


def _names(name: str, texts: list[str]) -> Axis:
    known = sorted(set(texts))
    scale = Rows(known)
    place = {text: scale.at(number) for number, text in enumerate(known)}
    step = -(-len(known) // MOST_TICKS)  # more of them can not be read
    return Axis(name, [place[text] for text in texts], [Tick(place[t], t) for t in known[::step]], texts)


def _render(title: str, axes: Sequence[Axis], names: Sequence[str], left_out: Sequence[str]) -> str:
    script = _file("brush.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rows = [
        (name, [axis.texts[row] for axis in axes], " ".join(f"{axis.places[row]:.4g}" for axis in axes))
        for row, name in enumerate(names)
    ]
    return fill(
        _file("brush.html"),
        title=shorten(title, 200),
        axes=[shorten(axis.name, LONGEST) for axis in axes],
        places=[LEFT + WIDTH_OF_AXIS * number for number in range(len(axes))],
        top=TOP,
        height=HEIGHT,
        rows=rows,
        left_out=left_out,
        drawing=to_svg(_draw(title, axes, len(names))),
        style=style() + Markup(_file("brush.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        digest=digest,
    )


def _draw(title: str, axes: Sequence[Axis], trials: int) -> Drawing:
    """The lines first and worst first: the script finds them as the first paths, in reverse order of the rows."""
    width = LEFT + WIDTH_OF_AXIS * len(axes)
    said = f"{trials} trials; a line runs through a trial's value of {', '.join(axis.name for axis in axes)}."
    drawing = Drawing("parallel", width, TOP + HEIGHT + BOTTOM, shorten(title, 200), shorten(said, 1000))
    for row in reversed(range(trials)):
        rank = row / trials
        stroke = STROKES[0] if rank < 0.1 else STROKES[1] if rank < 0.5 else STROKES[2]
        points = [(_across(number), _down(axis.places[row])) for number, axis in enumerate(axes)]
        drawing.add(Path([points], stroke.colour, stroke.width, opacity=0.75))
    for number, axis in enumerate(axes):
        x = _across(number)
        drawing.add(Path([[(x, TOP), (x, TOP + HEIGHT)]], "ink", 1.0))
        drawing.add(Text(x - 6, TOP - 14, shorten(axis.name, LONGEST_NAME), bold=True))
        for tick in axis.ticks:
            y = _down(tick.value)
            drawing.add(Path([[(x - 3, y), (x + 3, y)]], "ink", 1.0))
            drawing.add(Text(x + 6, y + 4, shorten(tick.label, LONGEST_TICK), halo=True))
    line_legend(drawing, STROKES, LEFT, 16)
    return drawing


def _across(number: int) -> float:
    return LEFT + WIDTH_OF_AXIS * number


def _down(place: float) -> float:
    return TOP + HEIGHT * (1 - place)


def _file(name: str) -> str:
    return resources.files("sweeps.pictures").joinpath(name).read_text(encoding="utf-8")
