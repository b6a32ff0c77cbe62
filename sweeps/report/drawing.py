"""Pictures as lists of primitives that do not know who shows them.

A figure is drawn once and rendered by `svg.py` for the page and by `paper.py` as PDF or PNG. Coordinates are
pixels from the top left; colours are names of `palette.PALETTE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Point: TypeAlias = tuple[float, float]
Mark: TypeAlias = Literal["circle", "square", "triangle", "diamond", "down", "cross"]
Anchor: TypeAlias = Literal["start", "middle", "end"]

_ANGLES = {"triangle": (3, -90.0), "down": (3, 90.0), "diamond": (4, 0.0), "square": (4, 45.0)}


@dataclass(frozen=True)
class Path:
    """Polylines in one style; with `fill`, closed areas.

    Attributes:
        segments: Each a sequence of points.
        colour: Of the stroke; None for none.
        fill: Colour of the closed area; None for an open line.
        opacity: 0..1, of stroke and fill together.
    """

    segments: Sequence[Sequence[Point]]
    colour: str | None = "ink"
    width: float = 1.0
    dash: tuple[float, ...] = ()
    fill: str | None = None
    opacity: float = 1.0


@dataclass(frozen=True)
class Marks:
    """Points that share a mark.

    Attributes:
        size: Diameter in pixels.
        filled: Else an outline, so that arms differ without colour as well.
        notes: A tooltip for each point, or none at all.
    """

    points: Sequence[Point]
    mark: Mark = "circle"
    colour: str = "ink"
    size: float = 6.0
    filled: bool = True
    opacity: float = 1.0
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Text:
    """One line of text; `y` is the baseline, `turned` reads bottom to top, a `halo` sets it off."""

    x: float
    y: float
    text: str
    anchor: Anchor = "start"
    size: float = 11.0
    colour: str = "ink"
    bold: bool = False
    turned: bool = False
    halo: bool = False


@dataclass(frozen=True)
class Cloud:
    """Very many points as one raster: how opaque a colour is, pixel by pixel.

    Attributes:
        opacity: uint8 (rows, cols), stretched over the rectangle.
    """

    x: float
    y: float
    width: float
    height: float
    opacity: NDArray[np.uint8]
    colour: str = "ink"


Item: TypeAlias = Path | Marks | Text | Cloud


@dataclass
class Drawing:
    """A picture and what it says to those who do not see it.

    Attributes:
        name: Letters, digits and dashes, unique on the page.
        title: What is shown.
        description: What is to be seen, in sentences.
    """

    name: str
    width: float
    height: float
    title: str
    description: str
    items: list[Item] = field(default_factory=list)

    def add(self, *items: Item) -> None:
        """Draw on top of what is there."""
        self.items.extend(items)


def outline(mark: Mark, size: float) -> list[Point]:
    """Corners of a mark around the origin, of about the area of a circle of diameter `size` (not for "circle")."""
    if mark == "cross":
        arm, half = size * 0.55, size * 0.16
        quarter = [(half, -arm), (half, -half), (arm, -half)]
        corners = [turn(p, 90.0 * k) for k in range(4) for p in quarter]
        return [turn(p, 45.0) for p in corners]
    count, first = _ANGLES[mark]
    area = count / 2 * np.sin(2 * np.pi / count)  # of the regular polygon of circumradius 1
    radius = size / 2 * float(np.sqrt(np.pi / area))
    return [turn((radius, 0.0), first + 360.0 * k / count) for k in range(count)]


def turn(point: Point, degrees: float) -> Point:
    """A point rotated around the origin, clockwise on the page."""
    angle = np.deg2rad(degrees)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return point[0] * c - point[1] * s, point[0] * s + point[1] * c


def rectangle(left: float, top: float, width: float, height: float) -> list[Point]:
    """Corners of a rectangle."""
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def text_width(text: str, size: float = 11.0) -> float:
    """Upper estimate of the width of a line of sans-serif text in pixels."""
    return size * 0.56 * len(text)
