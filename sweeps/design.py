"""Designs: how the points of a sweep are chosen from its space, known before anything starts.

A design receives the free dimensions by dotted path and returns points, none twice; its options are keyword-only
parameters. It gives every free dimension a value and lets `space.point` drop those that do not apply, so that a
draw never depends on a condition. One that can not draw categories says so:
`@DESIGNS.register(draws_categories=False)`.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Le

from rmt.registry import Registry
from sweeps.space import Point, Space

DESIGNS: Registry[Callable[..., list[Point]]] = Registry("design")

Count = Annotated[int, Ge(1)]


@DESIGNS.register(version=1)
def grid(space: Space, *, levels: Count = 3) -> list[Point]:
    """Every combination; an interval is taken at `levels` values that span it evenly, both ends included."""
    return space.product({path: space[path].levels(levels) for path in space})


@DESIGNS.register(version=1)
def random(space: Space, *, points: Count, seed: int = 0) -> list[Point]:
    """Independent uniform draws, a grid's values as categories; raising `points` keeps those drawn before."""
    generator = _random.Random(seed)
    return _at(space, ([generator.random() for _ in space] for _ in range(points)))


@DESIGNS.register(version=1)
def sobol(
    space: Space, *, points: Annotated[int, Ge(1), Le(2**20)], seed: Annotated[int, Ge(0)] = 0
) -> list[Point]:
    """Scrambled Sobol' points: even coverage, best with a power of two; raising `points` keeps those drawn before.

    Source: scipy.stats.qmc.Sobol (Joe and Kuo's directions, Owen's scrambling).
    """
    if not len(space):
        return [space.point({})]
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(space), scramble=True, seed=seed)
    return _at(space, sequence.random_base2((points - 1).bit_length())[:points].tolist())


@DESIGNS.register(version=1)
def latin_hypercube(space: Space, *, points: Count, seed: Annotated[int, Ge(0)] = 0) -> list[Point]:
    """As many slices of each dimension as points, each slice hit once; another number of `points` moves them all.

    Source: scipy.stats.qmc.LatinHypercube (McKay, Beckman and Conover 1979).
    """
    if not len(space):
        return [space.point({})]
    from scipy.stats import qmc

    return _at(space, qmc.LatinHypercube(len(space), seed=seed).random(points).tolist())


def _at(space: Space, positions: Iterable[Sequence[float]]) -> list[Point]:
    """Points at positions in the unit cube; what small discrete spaces give twice is run once."""
    free = [(path, space[path]) for path in space]
    drawn = (
        space.point({path: dimension.at(x) for (path, dimension), x in zip(free, position, strict=True)})
        for position in positions
    )
    return distinct(drawn)


def distinct(points: Iterable[dict[str, Any]]) -> list[Point]:
    """Each point once, in the order of its first appearance."""
    return list({repr(point): point for point in points}.values())
