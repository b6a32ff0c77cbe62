"""A drawing as inline SVG: follows the page's colours, names itself to screen readers, holds no script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import assert_never
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

from sweeps.report.drawing import Cloud, Drawing, Item, Marks, Path, Point, Text, outline
from sweeps.report.raster import png


def to_svg(drawing: Drawing) -> Markup:
    """Render a drawing; whatever text is in it stays text.

    Returns:
        An `<svg role="img">` whose title and description are announced. Colours are the classes of
        `palette.classes()`; the page has to define them.
    """
    name, size = drawing.name, (_n(drawing.width), _n(drawing.height))
    labels = {"role": "img", "aria-labelledby": f"{name}-title {name}-text"}
    root = Element("svg", {**labels, "viewBox": f"0 0 {size[0]} {size[1]}", "width": size[0]})
    SubElement(root, "title", {"id": f"{name}-title"}).text = _printable(drawing.title)
    SubElement(root, "desc", {"id": f"{name}-text"}).text = _printable(drawing.description)
    for number, item in enumerate(drawing.items):
        _add(root, item, f"{name}-{number}")
    return Markup(tostring(root, encoding="unicode"))  # noqa: S704 - ElementTree has escaped it


def _add(root: Element, item: Item, name: str) -> None:
    match item:
        case Path():
            _add_path(root, item)
        case Marks():
            _add_marks(root, item)
        case Text():
            _add_text(root, item)
        case Cloud():
            _add_cloud(root, item, name)
        case _:
            assert_never(item)


def _add_path(root: Element, path: Path) -> None:
    data = "".join(_polyline(segment, closed=path.fill is not None) for segment in path.segments)
    if not data:
        return
    names = [f"s-{path.colour}"] if path.colour else []
    names.append(f"f-{path.fill}" if path.fill else "n")
    look = _style(path.width if path.colour else 1.0, path.opacity)
    if path.dash:
        look["stroke-dasharray"] = " ".join(_n(length) for length in path.dash)
    SubElement(root, "path", {"class": " ".join(names), **look, "d": data})


def _add_marks(root: Element, marks: Marks) -> None:
    names = f"s-{marks.colour} f-{marks.colour if marks.filled else 'paper'}"
    look = {"class": names, **_style(0.6 if marks.filled else 1.4, marks.opacity)}
    if not marks.notes:
        if data := "".join(_mark(marks, point) for point in marks.points):
            SubElement(root, "path", {**look, "d": data})
        return
    group = SubElement(root, "g", look)
    for point, note in zip(marks.points, marks.notes, strict=True):
        shape = SubElement(group, "path", {"d": _mark(marks, point)})
        SubElement(shape, "title").text = _printable(note)


def _mark(marks: Marks, point: Point) -> str:
    x, y = point
    if marks.mark == "circle":
        radius, size = _n(marks.size / 2), _n(marks.size)
        arcs = f"a{radius} {radius} 0 1 0 {size} 0a{radius} {radius} 0 1 0-{size} 0z"
        return f"M{_n(x - marks.size / 2)} {_n(y)}{arcs}"
    return _polyline([(x + dx, y + dy) for dx, dy in outline(marks.mark, marks.size)], closed=True)


def _add_text(root: Element, text: Text) -> None:
    names = f"f-{text.colour} h" if text.halo else f"f-{text.colour}"
    look = {"x": _n(text.x), "y": _n(text.y), "class": names, "font-size": _n(text.size)}
    if text.turned:
        look["transform"] = f"rotate(-90 {_n(text.x)} {_n(text.y)})"
    if text.anchor != "start":
        look["text-anchor"] = text.anchor
    if text.bold:
        look["font-weight"] = "600"
    SubElement(root, "text", look).text = _printable(text.text)


def _add_cloud(root: Element, cloud: Cloud, name: str) -> None:
    # As a luminance mask over a coloured rectangle, the raster follows the colour scheme like everything else.
    corner = {"x": _n(cloud.x), "y": _n(cloud.y), "width": _n(cloud.width), "height": _n(cloud.height)}
    address = "data:image/png;base64," + base64.b64encode(png(cloud.opacity)).decode()
    mask = SubElement(root, "mask", {"id": name})
    SubElement(mask, "image", {**corner, "preserveAspectRatio": "none", "href": address})
    SubElement(root, "rect", {**corner, "class": f"f-{cloud.colour}", "mask": f"url(#{name})"})


def _polyline(points: Sequence[Point], *, closed: bool) -> str:
    if not points:
        return ""
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points) + ("z" if closed else "")


def _style(width: float, opacity: float) -> dict[str, str]:
    stroke = {} if width == 1.0 else {"stroke-width": _n(width)}
    return stroke | ({} if opacity == 1.0 else {"opacity": f"{opacity:.2g}"})


def _printable(text: str) -> str:
    """Without control characters, which no XML may hold."""
    return "".join(character if character.isprintable() else " " for character in text)


def _n(value: float) -> str:
    """Tenths of a pixel, as short as possible."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text
