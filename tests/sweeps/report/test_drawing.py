from __future__ import annotations

import math
from typing import get_args

import pytest

from sweeps.report.drawing import Mark, outline, rectangle, turn

POLYGONS: list[Mark] = [mark for mark in get_args(Mark) if mark not in ("circle", "cross")]


def _area(corners: list[tuple[float, float]]) -> float:
    following = [*corners[1:], corners[0]]
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(corners, following, strict=True))) / 2


@pytest.mark.parametrize("mark", POLYGONS)
def test_marks_weigh_the_same_to_the_eye(mark: Mark) -> None:
    assert _area(outline(mark, 8.0)) == pytest.approx(math.pi * 16, rel=1e-9)


def test_a_triangle_points_up_and_its_counterpart_down() -> None:
    assert min(y for _, y in outline("triangle", 8)) == pytest.approx(-max(y for _, y in outline("down", 8)))
    assert abs(min(y for _, y in outline("triangle", 8))) > max(y for _, y in outline("triangle", 8))


def test_a_cross_has_twelve_corners_within_its_reach() -> None:
    corners = outline("cross", 10)
    assert len(corners) == 12
    assert max(math.hypot(*corner) for corner in corners) < 7


def test_turning_and_rectangles() -> None:
    assert turn((1.0, 0.0), 90) == pytest.approx((0.0, 1.0))
    assert _area(rectangle(3, 4, 5, 6)) == pytest.approx(30)
