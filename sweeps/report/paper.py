"""A drawing as a file for a paper: PDF with real text, or PNG, from the same primitives as the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as File
from typing import TYPE_CHECKING

import numpy as np

from sweeps.report.drawing import Cloud, Drawing, Item, Marks, Path, Point, Text, outline
from sweeps.report.palette import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path as Curve

POINTS = 0.75  # of a pixel, as CSS has it: 96 pixels and 72 points make an inch
TRUETYPE = 42  # fonts inside a PDF stay text that can be searched and edited


def save(drawing: Drawing, to: File, *, scheme: str = "light", dpi: float = 200.0) -> File:
    """Write a drawing as PDF or PNG, by the ending of `to`.

    Args:
        scheme: "light" or "dark".
        dpi: Of a PNG, and of clouds of points in a PDF.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"font.family": "sans-serif", "pdf.fonttype": TRUETYPE}):
        figure = Figure(figsize=(drawing.width / 96, drawing.height / 96), facecolor=_colour("paper", scheme))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(0, drawing.width)
        axes.set_ylim(drawing.height, 0)
        for order, item in enumerate(drawing.items):
            _draw(axes, item, scheme, order)
        figure.savefig(to, dpi=dpi, metadata={"Title": drawing.title})
    return to


def _draw(axes: Axes, item: Item, scheme: str, order: int) -> None:
    match item:
        case Path():
            _draw_path(axes, item, scheme, order)
        case Marks():
            _draw_marks(axes, item, scheme, order)
        case Text():
            _draw_text(axes, item, scheme, order)
        case Cloud():
            _draw_cloud(axes, item, scheme, order)


def _draw_path(axes: Axes, path: Path, scheme: str, order: int) -> None:
    from matplotlib.patches import PathPatch

    look = {
        "facecolor": _colour(path.fill, scheme),
        "edgecolor": _colour(path.colour, scheme),
        "linewidth": path.width * POINTS if path.colour else 0.0,
        "linestyle": (0, tuple(length / path.width for length in path.dash)) if path.dash else "solid",
    }
    shape = _outline(path.segments, closed=path.fill is not None)
    if shape is not None:
        axes.add_patch(PathPatch(shape, alpha=path.opacity, zorder=order, **look))


def _draw_marks(axes: Axes, marks: Marks, scheme: str, order: int) -> None:
    from matplotlib.patches import PathPatch

    turns = np.linspace(0, 2 * np.pi, 33)[:-1]
    circle = [(marks.size / 2 * float(np.cos(t)), marks.size / 2 * float(np.sin(t))) for t in turns]
    corners = circle if marks.mark == "circle" else outline(marks.mark, marks.size)
    shape = _outline([[(x + dx, y + dy) for dx, dy in corners] for x, y in marks.points], closed=True)
    if shape is not None:
        look = {
            "facecolor": _colour(marks.colour if marks.filled else "paper", scheme),
            "edgecolor": _colour(marks.colour, scheme),
            "linewidth": (0.6 if marks.filled else 1.4) * POINTS,
        }
        axes.add_patch(PathPatch(shape, alpha=marks.opacity, zorder=order, **look))


def _draw_text(axes: Axes, text: Text, scheme: str, order: int) -> None:
    from matplotlib.patheffects import withStroke

    drawn = axes.text(
        text.x,
        text.y,
        text.text.replace("$", r"\$"),
        fontsize=text.size * POINTS,
        color=_colour(text.colour, scheme),
        weight="bold" if text.bold else "normal",
        ha={"start": "left", "middle": "center", "end": "right"}[text.anchor],
        va="baseline",
        rotation=90 if text.turned else 0,
        rotation_mode="anchor",
        zorder=order,
    )
    if text.halo:
        drawn.set_path_effects([withStroke(linewidth=3 * POINTS, foreground=_colour("paper", scheme))])


def _draw_cloud(axes: Axes, cloud: Cloud, scheme: str, order: int) -> None:
    from matplotlib.colors import to_rgb

    picture = np.empty((*cloud.opacity.shape, 4))
    picture[..., :3] = to_rgb(_colour(cloud.colour, scheme))
    picture[..., 3] = cloud.opacity / 255
    place = (cloud.x, cloud.x + cloud.width, cloud.y + cloud.height, cloud.y)
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(picture, extent=place, aspect="auto", zorder=order)
    axes.set(xlim=limits[0], ylim=limits[1])


def _outline(segments: Sequence[Sequence[Point]], *, closed: bool) -> Curve | None:
    """One path of many pieces; None if there is nothing to draw."""
    from matplotlib.path import Path as Curve

    points: list[Point] = []
    codes: list[np.uint8] = []
    for segment in segments:
        if segment:
            points += [*segment, segment[0]] if closed else segment
            codes += [Curve.MOVETO] + [Curve.LINETO] * (len(segment) - 1) + [Curve.CLOSEPOLY] * closed
    return Curve(points, codes) if points else None


def _colour(name: str | None, scheme: str) -> str:
    return "none" if name is None else str(getattr(PALETTE[name], scheme))
