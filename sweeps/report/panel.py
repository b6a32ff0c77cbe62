"""Axes: a rectangle of a drawing with a scale each way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sweeps.report.drawing import Drawing, Mark, Marks, Path, Point, Text
from sweeps.report.scales import Scale

Span: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Panel:
    """A plotting area inside a drawing; data outside of its scales is drawn at the rim.

    Attributes:
        left: Of the area, without labels, in pixels.
        top: Of the area, without labels, in pixels.
    """

    drawing: Drawing
    left: float
    top: float
    width: float
    height: float
    x: Scale
    y: Scale

    def at(self, x: float, y: float) -> Point:
        """Pixel of a data point."""
        return self.left + _clip(self.x.at(x)) * self.width, self.top + (1 - _clip(self.y.at(y))) * self.height

    def frame(
        self, x_label: str = "", y_label: str = "", *, grid: str = "xy", title: str = "", y_values: bool = True
    ) -> None:
        """Grid lines, ticks, labels, and a title above the area; `y_values` writes the values at the left."""
        self._x_axis("x" in grid)
        self._y_axis("y" in grid, y_values)
        bottom, middle = self.top + self.height, self.left + self.width / 2
        corner = [(self.left, self.top), (self.left, bottom), (self.left + self.width, bottom)]
        self.drawing.add(Path([corner], "muted"))
        if x_label:
            self.drawing.add(Text(middle, bottom + 34, x_label, "middle", 12))
        if y_label:
            self.drawing.add(Text(self.left - 48, self.top + self.height / 2, y_label, "middle", 12, turned=True))
        if title:
            self.drawing.add(Text(self.left, self.top - 9, title, size=12, bold=True))

    def _x_axis(self, grid: bool) -> None:
        bottom = self.top + self.height
        places = [(self.left + self.x.at(tick.value) * self.width, tick.label) for tick in self.x.ticks()]
        if grid:
            self.drawing.add(Path([[(x, self.top), (x, bottom)] for x, _ in places], "grid"))
        self.drawing.add(Path([[(x, bottom), (x, bottom + 4)] for x, _ in places], "muted"))
        self.drawing.add(*(Text(x, bottom + 16, label, "middle", colour="muted") for x, label in places if label))

    def _y_axis(self, grid: bool, values: bool) -> None:
        places = [(self.top + (1 - self.y.at(tick.value)) * self.height, tick.label) for tick in self.y.ticks()]
        if grid:
            self.drawing.add(Path([[(self.left, y), (self.left + self.width, y)] for y, _ in places], "grid"))
        if values:
            self.drawing.add(Path([[(self.left - 4, y), (self.left, y)] for y, _ in places], "muted"))
            written = (Text(self.left - 8, y + 4, label, "end", colour="muted") for y, label in places if label)
            self.drawing.add(*written)

    def line(
        self,
        points: Iterable[Point],
        colour: str = "ink",
        width: float = 1.5,
        dash: tuple[float, ...] = (),
        opacity: float = 1.0,
    ) -> None:
        """A polyline through data points."""
        self.drawing.add(Path([[self.at(x, y) for x, y in points]], colour, width, dash, opacity=opacity))

    def area(self, points: Iterable[Point], colour: str, opacity: float = 0.25) -> None:
        """A filled polygon of data points."""
        self.drawing.add(Path([[self.at(x, y) for x, y in points]], None, fill=colour, opacity=opacity))

    def vertical(self, x: float, colour: str = "muted", dash: tuple[float, ...] = (), width: float = 1.0) -> None:
        """A line from bottom to top at `x`."""
        place = self.at(x, 0)[0]
        ends = [(place, self.top), (place, self.top + self.height)]
        self.drawing.add(Path([ends], colour, width, dash))

    def horizontal(self, y: float, colour: str = "muted", dash: tuple[float, ...] = ()) -> None:
        """A line from left to right at `y`."""
        place = self.top + (1 - _clip(self.y.at(y))) * self.height
        self.drawing.add(Path([[(self.left, place), (self.left + self.width, place)]], colour, 1.0, dash))

    def bars(
        self,
        points: Sequence[Point],
        x: Sequence[Span | None] = (),
        y: Sequence[Span | None] = (),
        colour: str = "ink",
        width: float = 1.2,
        opacity: float = 0.8,
    ) -> None:
        """Error bars either way or both; None where there is no interval."""
        across = [
            [self.at(span[0], point[1]), self.at(span[1], point[1])]
            for point, span in zip(points, x, strict=False)
            if span
        ]
        along = [
            [self.at(point[0], span[0]), self.at(point[0], span[1])]
            for point, span in zip(points, y, strict=False)
            if span
        ]
        self.drawing.add(Path(across + along, colour, width, opacity=opacity))

    def marks(
        self,
        points: Iterable[Point],
        mark: Mark,
        colour: str,
        size: float = 7.0,
        filled: bool = True,
        opacity: float = 1.0,
        notes: Sequence[str] = (),
    ) -> None:
        """A mark at each data point."""
        places = [self.at(x, y) for x, y in points]
        self.drawing.add(Marks(places, mark, colour, size, filled, opacity, notes))


def _clip(position: float) -> float:
    return min(max(position, 0.0), 1.0)
