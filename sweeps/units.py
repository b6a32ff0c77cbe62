"""What statistics count: one seed, averaged over the sources of chance that were crossed with it.

Ten initialisations, each trained with three data orders, are thirty replicates and ten units: the three of an
initialisation begin from the same weights, and intervals that took all thirty for independent would be too narrow.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

Unit = TypeVar("Unit", bound=Hashable)

SOURCES = ("initialisation", "data_order", "split")


def crossed_with(seeds: Sequence[Mapping[Any, Any]]) -> tuple[str, tuple[str, ...]] | None:
    """The source of chance that tells the units of a trial apart, and those crossed with it.

    Args:
        seeds: Of all replicates of one trial, by source; those that did not finish too.

    Returns:
        None where each replicate is a unit of its own.
    """
    varying = [name for name in SOURCES if len({one.get(name) for one in seeds}) > 1]
    if len(varying) < 2 or len({one[varying[0]] for one in seeds}) == len(_triples(seeds)):
        return None
    return varying[0], tuple(varying[1:])


def _triples(seeds: Sequence[Mapping[Any, Any]]) -> set[tuple[Any, ...]]:
    return {tuple(one.get(name) for name in SOURCES) for one in seeds}


def by_unit(values: Sequence[float], seeds: Sequence[Mapping[Any, Any]]) -> list[float]:
    """Values of all replicates of one trial as one a unit, averaged over what is crossed with it; NaN stays NaN.

    Args:
        values: Of each replicate.
        seeds: Of each, by source.
    """
    crossing = crossed_with(seeds)
    if crossing is None:
        return list(values)
    found: dict[Any, list[float]] = {}
    for value, one in zip(values, seeds, strict=True):
        found.setdefault(one[crossing[0]], []).append(value)
    return [sum(parts) / len(parts) for parts in found.values()]


def averaged(values: Sequence[float], units: Sequence[Unit], cells: Sequence[Hashable]) -> dict[Unit, float]:
    """Mean of each unit over its cells, in the order in which units appear.

    Units that lack a cell are compared with the others through the cells they have: unit and cell effects are
    fitted together (least squares, additive), so that a unit is not called low for lacking the cell in which all
    do well. Where no cell is missing these are the plain means.

    Args:
        values: Finite numbers.
        units: Of each value.
        cells: Of each value: what it is averaged over, such as a data order.
    """
    gathered: dict[Unit, list[tuple[Hashable, float]]] = {}
    for value, unit, cell in zip(values, units, cells, strict=True):
        gathered.setdefault(unit, []).append((cell, float(value)))
    places = {unit: sorted(str(cell) for cell, _ in found) for unit, found in gathered.items()}
    first = next(iter(places.values()), [])
    if all(found == first for found in places.values()):
        return {unit: sum(value for _, value in found) / len(found) for unit, found in gathered.items()}
    return _fitted(gathered)


def _fitted(gathered: Mapping[Unit, Sequence[tuple[Hashable, float]]]) -> dict[Unit, float]:
    """Unit effects of the additive model, at the mean of all cells."""
    import numpy as np

    kinds = list(dict.fromkeys(cell for found in gathered.values() for cell, _ in found))
    rows = [
        (place, kinds.index(cell), value) for place, found in enumerate(gathered.values()) for cell, value in found
    ]
    # Cell effects sum to zero, so that a unit's effect is its mean over all cells.
    design = np.zeros((len(rows) + 1, len(gathered) + len(kinds)))
    goal = np.zeros(len(rows) + 1)
    for index, (place, kind, value) in enumerate(rows):
        design[index, place] = design[index, len(gathered) + kind] = 1.0
        goal[index] = value
    design[-1, len(gathered) :] = 1.0
    effects = np.linalg.lstsq(design, goal, rcond=None)[0]
    return {unit: float(effects[place]) for place, unit in enumerate(gathered)}
