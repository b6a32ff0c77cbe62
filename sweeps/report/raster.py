"""Thousands of points as one small greyscale picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sweeps.report.drawing import Mark, Point, outline

PIXELS = 2  # raster pixels per drawing pixel: sharp on screens of double density, small in the file


def coverage(
    points: Sequence[Point], width: float, height: float, *, mark: Mark, size: float, opacity: float
) -> NDArray[np.uint8]:
    """How opaque many overlapping translucent marks are together, pixel by pixel.

    Args:
        points: Relative to the rectangle's top left, in drawing pixels; those outside are clipped.
        width: Of the rectangle, in drawing pixels.
        height: Of the rectangle, in drawing pixels.
        mark: Shape of a point.
        size: Diameter of a point in drawing pixels.
        opacity: Of one point, 0..1 exclusive of 1; k points on one pixel cover 1 - (1 - opacity)^k of it.

    Returns:
        uint8 of shape (rows, cols) = `PIXELS` times (height, width).
    """
    rows, cols = round(height * PIXELS), round(width * PIXELS)
    stamp = _stamp(mark, size * PIXELS)
    reach = stamp.shape[0] // 2
    depth = np.zeros((rows + 2 * reach, cols + 2 * reach))  # optical depth adds up where opacities multiply
    place = np.rint(np.asarray(points, dtype=np.float64).reshape(-1, 2) * PIXELS).astype(np.int64)
    place = place[(place >= 0).all(axis=1) & (place[:, 0] < cols) & (place[:, 1] < rows)]
    for dy, dx in np.argwhere(stamp > 0):
        np.add.at(depth, (place[:, 1] + dy, place[:, 0] + dx), -np.log1p(-opacity * stamp[dy, dx]))
    inner = depth[reach : reach + rows, reach : reach + cols]
    return np.rint(255 * -np.expm1(-inner)).astype(np.uint8)


def _stamp(mark: Mark, size: float) -> NDArray[np.float64]:
    """Share of each pixel that a mark of diameter `size` covers, odd square shape, centred."""
    fine, reach = 8, int(np.ceil(size * 0.8)) + 1
    axis = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    x, y = np.meshgrid(axis, axis)
    inside = np.hypot(x, y) <= size / 2 if mark == "circle" else _inside(outline(mark, size), x, y)
    side = 2 * reach + 1
    return inside.astype(np.float64).reshape(side, fine, side, fine).mean(axis=(1, 3))


def _inside(corners: Sequence[Point], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Even-odd rule."""
    inside = np.zeros(x.shape, dtype=np.bool_)
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if ay == by:
            continue
        crosses = (y < ay) != (y < by)
        inside ^= crosses & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return inside


def png(grey: NDArray[np.uint8]) -> bytes:
    """Encode (rows, cols) greyscale as PNG (RFC 2083): signature, header, one compressed block, end."""
    rows, cols = grey.shape
    lines = np.zeros((rows, cols + 1), dtype=np.uint8)  # each line opens with its filter type, 0 for none
    lines[:, 1:] = grey
    header = struct.pack(">IIBBBBB", cols, rows, 8, 0, 0, 0, 0)
    blocks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_block(kind, data) for kind, data in blocks)


def _block(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
