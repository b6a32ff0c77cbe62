"""Legends: one line of marks or strokes with their names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sweeps.report.arms import Arm
from sweeps.report.drawing import Drawing, Marks, Path, Text, text_width

SIZE = 12.0


class Stroke(NamedTuple):
    """A kind of line, with its name."""

    name: str
    colour: str
    width: float = 1.5
    dash: tuple[float, ...] = ()


def mark_legend(drawing: Drawing, arms: Iterable[Arm], left: float, baseline: float) -> None:
    """The arms' marks."""
    for arm in arms:
        drawing.add(Marks([(left + 5, baseline - 4)], arm.mark, arm.colour, 8, arm.filled))
        drawing.add(Text(left + 15, baseline, arm.name, size=SIZE))
        left += 15 + text_width(arm.name, SIZE) + 18


def line_legend(drawing: Drawing, strokes: Iterable[Stroke], left: float, baseline: float) -> float:
    """Strokes; returns where the line ends."""
    for stroke in strokes:
        y = baseline - 4
        drawing.add(Path([[(left, y), (left + 22, y)]], stroke.colour, stroke.width, stroke.dash))
        drawing.add(Text(left + 28, baseline, stroke.name, size=SIZE))
        left += 28 + text_width(stroke.name, SIZE) + 16
    return left
