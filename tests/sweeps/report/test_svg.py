from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from sweeps.report.drawing import Cloud, Drawing, Marks, Path, Text
from sweeps.report.palette import PALETTE
from sweeps.report.svg import to_svg

HOSTILE = "</title><script>alert('x')</script>&\x00\x1b\n<img src=x onerror=alert(1)>"


def _drawing(text: str = "text") -> Drawing:
    drawing = Drawing("name", 100, 80, text, text)
    drawing.add(
        Path([[(0, 0), (10.04, 10.06)], []], "blue", 2.0, (4.0, 2.0), opacity=0.5),
        Path([[(0, 0), (10, 0), (10, 10)]], None, fill="sky"),
        Marks([(5, 5), (6, 6)], "circle", "green", notes=[text, text]),
        Marks([(5, 5)], "square", "vermillion", filled=False),
        Text(1, 2, text, "end", turned=True, bold=True, halo=True),
        Cloud(0, 0, 10, 10, np.full((4, 4), 128, dtype=np.uint8), "blue"),
    )
    return drawing


def _parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - our own output


def test_it_names_and_describes_itself_to_those_who_do_not_see_it() -> None:
    root = _parsed(to_svg(_drawing("accuracy against size")))
    names = root.attrib["aria-labelledby"].split()
    assert root.attrib["role"] == "img"
    assert [child.attrib["id"] for child in root[:2]] == names
    assert [child.tag for child in root[:2]] == ["title", "desc"]
    assert root[0].text == "accuracy against size"


def test_text_stays_text_whatever_it_is() -> None:
    svg = to_svg(_drawing(HOSTILE))
    assert "<script" not in svg
    assert "<img" not in svg
    root = _parsed(svg)
    assert {element.tag for element in root.iter()} == {
        "svg", "title", "desc", "path", "g", "text", "mask", "image", "rect",
    }  # fmt: skip
    assert root[0].text == HOSTILE.replace("\x00", " ").replace("\x1b", " ").replace("\n", " ")


def test_colours_are_classes_of_the_palette_so_that_the_page_decides() -> None:
    svg = to_svg(_drawing())
    used = {name for element in _parsed(svg).iter() for name in element.get("class", "").split()}
    assert used <= {f"{kind}-{name}" for kind in "sf" for name in PALETTE} | {"n", "h"}
    assert "#0" not in svg.replace("url(#", "")


def test_points_are_written_to_a_tenth_of_a_pixel_and_empty_lines_not_at_all() -> None:
    svg = to_svg(_drawing())
    assert "M0 0L10 10.1" in svg
    assert svg.count("<path") == 5


def test_a_note_is_a_tooltip_for_each_point() -> None:
    root = _parsed(to_svg(_drawing("#1 pruned")))
    assert [note.text for note in root.findall("./g/path/title")] == ["#1 pruned", "#1 pruned"]
    drawing = Drawing("name", 1, 1, "t", "d", [Marks([(0, 0), (1, 1)], notes=["one"])])
    with pytest.raises(ValueError, match="zip"):
        to_svg(drawing)
