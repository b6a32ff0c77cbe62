from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from sweeps.report.drawing import Mark
from sweeps.report.raster import PIXELS, coverage, png


def test_a_picture_read_back_is_the_same() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (13, 29), dtype=np.uint8)
    read = imread(io.BytesIO(png(grey)), format="png")
    np.testing.assert_array_equal(np.rint(read * 255).astype(np.uint8), grey)


@pytest.mark.parametrize("mark", ["circle", "square", "diamond", "triangle", "down", "cross"])
def test_one_mark_covers_about_its_area(mark: Mark) -> None:
    seen = coverage([(20, 15)], 40, 30, mark=mark, size=8, opacity=0.5)
    assert seen.shape == (30 * PIXELS, 40 * PIXELS)
    assert int(seen.max()) == pytest.approx(127, abs=1)
    area = seen.sum() / 127.5 / PIXELS**2
    assert area == pytest.approx(np.pi * 16, rel=0.02 if mark != "cross" else 0.4)


def test_overlapping_marks_multiply_what_shines_through() -> None:
    once, thrice = (
        int(coverage([(10, 10)] * k, 20, 20, mark="circle", size=6, opacity=0.4).max()) for k in (1, 3)
    )
    assert 1 - thrice / 255 == pytest.approx((1 - once / 255) ** 3, abs=0.01)


def test_marks_at_the_rim_are_clipped_and_those_outside_left_out() -> None:
    inside = coverage([(0, 0)], 20, 20, mark="circle", size=6, opacity=0.5)
    assert inside[0, 0] > 0
    assert coverage([(-50, 5), (5, 400)], 20, 20, mark="circle", size=6, opacity=0.5).max() == 0
    assert coverage([], 20, 20, mark="circle", size=6, opacity=0.5).max() == 0
