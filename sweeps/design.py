"""Designs: how the points of a sweep are chosen from its space, known before anything starts.

A design receives the dimensions by dotted path and returns points; its options are keyword-only parameters.
"""

from __future__ import annotations

import itertools
import random as _random
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from annotated_types import Ge

from rmt.registry import Registry
from sweeps.space import Dimension

Point = dict[str, Any]
Space = Mapping[str, Dimension]

DESIGNS: Registry[Callable[..., list[Point]]] = Registry("design")


@DESIGNS.register(version=1)
def grid(space: Space, *, levels: Annotated[int, Ge(1)] = 3) -> list[Point]:
    """Every combination; an interval is taken at `levels` values that span it evenly, both ends included."""
    values = [dimension.levels(levels) for dimension in space.values()]
    return [dict(zip(space, combination, strict=True)) for combination in itertools.product(*values)]


@DESIGNS.register(version=1)
def random(space: Space, *, points: Annotated[int, Ge(1)], seed: int = 0) -> list[Point]:
    """Independent uniform draws, a grid's values as categories; raising `points` keeps those drawn before."""
    generator = _random.Random(seed)
    drawn = [{path: dim.at(generator.random()) for path, dim in space.items()} for _ in range(points)]
    return _distinct(drawn)


def _distinct(points: list[Point]) -> list[Point]:
    """Small discrete spaces are drawn twice sooner or later; a trial is run once."""
    return list({repr(point): point for point in points}.values())
