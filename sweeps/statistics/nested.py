"""Shares of variance in a sweep: seeds within configurations, swept dimensions between them.

A seed means little across configurations: the weights that seed 3 draws for one width say nothing about those for
another. What a source of chance does is the scatter it makes within a configuration, pooled over configurations;
the part of it that all configurations share (a seed that is good for all) is part of it, not the whole.

The model, for C configurations with the same K seeds (a full crossing of the sources s, each level on r_s rows):

    value = mean + dimensions + their interactions + Σ_s (s + s × configuration) + residual

with every effect random. Mean squares of a balanced table are independent and estimate

| mean square | expectation |
|---|---|
| residual (sources with each other) | e |
| s × configuration | e + r_s v(s × configuration) |
| s | e + r_s v(s × configuration) + r_s C v(s) |
| interactions of dimensions | E + K v(interactions), with E = e + Σ_s r_s v(s × configuration) |
| a dimension of L levels | the one above (E if there are no interactions) + K C / L v(dimension) |

Source: Searle, Casella and McCulloch, Variance Components (1992), sections 4.4 and 4.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sweeps.statistics.decomposition import DRAWS, RESIDUAL, analyse
from sweeps.statistics.samples import Array

INTERACTIONS, CONFIGURATION = "interactions", "configuration"
Codes: TypeAlias = NDArray[np.int64]
Stratum: TypeAlias = tuple[str, ...]


@dataclass
class Strata:
    """Sums of squares of a balanced table, by stratum, and what turns their mean squares into components.

    Attributes:
        dimensions: Names of the dimensions with their numbers of levels.
        sources: Names of the sources of chance with their numbers of levels.
        configurations: Their number C.
        squares, df: By stratum: ("dimension", name), ("source", name), ("own", name) for a source's interaction
            with the configuration, (INTERACTIONS,) and (RESIDUAL,).
    """

    dimensions: dict[str, int]
    sources: dict[str, int]
    configurations: int
    squares: dict[Stratum, float] = field(default_factory=dict)
    df: dict[Stratum, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """What has a share, in the order of `components`."""
        rest = [(INTERACTIONS, (INTERACTIONS,)), (RESIDUAL, (RESIDUAL,))]
        return [*self.sources, *self.dimensions, *(name for name, stratum in rest if self.df.get(stratum))]

    def _add(self, stratum: Stratum, squares: float, df: int) -> None:
        if df:
            self.squares[stratum], self.df[stratum] = max(squares, 0.0), df

    def components(self, mean_squares: Mapping[Stratum, Array]) -> Array:
        """Variance components, negative ones set to zero, from mean squares of any shape (*batch); last axis."""
        e = mean_squares.get((RESIDUAL,), np.zeros(()))
        rows, count = prod(self.sources.values()), self.configurations
        found: list[Array] = []
        error = e
        for name, levels in self.sources.items():
            every = mean_squares[("source", name)]
            own = mean_squares.get(("own", name), every)
            found.append(((every + (count - 1) * own) / count - e) * levels / rows)
            error = error + own - e
        above = mean_squares.get((INTERACTIONS,), error)
        for name, levels in self.dimensions.items():
            found.append((mean_squares[("dimension", name)] - above) * levels / (rows * count))
        if (INTERACTIONS,) in self.df:
            found.append((above - error) / rows)
        if (RESIDUAL,) in self.df:
            found.append(e)
        return np.maximum(np.stack(np.broadcast_arrays(*found), axis=-1), 0.0)

    def shares(self) -> tuple[Array, Array]:
        """Components, and their shares of the sum, in the order of `names`."""
        parts = self.components({key: np.asarray(self.squares[key] / self.df[key]) for key in self.squares})
        total = parts.sum()
        return parts, parts / total if total else parts

    def p_value(self, name: str) -> float | None:
        """F test of no such effect; None where no single mean square is what it is to be compared with."""
        if name in self.sources:
            strata = [stratum for stratum in (("source", name), ("own", name)) if stratum in self.df]
            return self._f_test(strata, (RESIDUAL,))
        single = [("own", source) for source in self.sources] if len(self.sources) == 1 else []
        if name == INTERACTIONS:
            return self._f_test([(INTERACTIONS,)], *single)
        if name == RESIDUAL:
            return None
        return self._f_test([("dimension", name)], *([(INTERACTIONS,)] if (INTERACTIONS,) in self.df else single))

    def _f_test(self, strata: Sequence[Stratum], *error: Stratum) -> float | None:
        if len(error) != 1 or error[0] not in self.df:
            return None
        squares, df = sum(self.squares[s] for s in strata), sum(self.df[s] for s in strata)
        below = self.squares[error[0]] / self.df[error[0]]
        return float(special.fdtrc(df, self.df[error[0]], squares / df / below)) if below else None


def strata_of(values: Array, sources: Sequence[str], dimensions: Mapping[str, Codes]) -> Strata:
    """Sums of squares of a table of shape (configurations, levels of the first source, of the second, ...).

    Dimensions are codes of shape (configurations,); those that do not make a full grid count as one.
    """
    count, levels = values.shape[0], dict(zip(sources, values.shape[1:], strict=True))
    inner = tuple(range(1, values.ndim))
    centre = values.mean(axis=inner)
    grid = _grid(dimensions, count)
    found = Strata({name: int(code.max()) + 1 for name, code in grid.items()}, levels, count)
    within = float(((values - centre.reshape(-1, *(1 for _ in inner))) ** 2).sum())
    degrees = count * (prod(levels.values()) - 1)
    for axis, (name, size) in enumerate(levels.items(), start=1):
        effects = values.mean(axis=tuple(a for a in inner if a != axis)) - centre[:, None]
        repeats, every = prod(levels.values()) / size, effects.mean(axis=0)
        own = repeats * float(((effects - every) ** 2).sum())
        found._add(("source", name), count * repeats * float((every**2).sum()), size - 1)
        found._add(("own", name), own, (size - 1) * (count - 1))
        within, degrees = within - found.squares[("source", name)] - own, degrees - count * (size - 1)
    found._add((RESIDUAL,), within, degrees)
    if grid:
        between = analyse(centre, grid)
        assert between is not None  # noqa: S101 - a grid is balanced
        rows = prod(levels.values())
        for name, squares, df in zip(between.names, between.squares[:-1], between.df[:-1], strict=True):
            found._add(("dimension", name), rows * float(squares), int(df))
        found._add((INTERACTIONS,), rows * float(between.squares[-1]), int(between.df[-1]))
    return found


def _grid(dimensions: Mapping[str, Codes], count: int) -> Mapping[str, Codes]:
    """The dimensions if each combination of their levels is one configuration, else all of them as one."""
    if count == 1:
        return {}
    distinct = set(zip(*(code.tolist() for code in dimensions.values()), strict=True))
    is_full = prod(int(code.max()) + 1 for code in dimensions.values()) == count == len(distinct)
    return dimensions if is_full else {CONFIGURATION: np.arange(count)}


def share_intervals(strata: Strata, level: float, seed: int) -> tuple[Array, Array]:
    """Generalised confidence intervals of the shares, in the order of `Strata.names`.

    Source: Weerahandi, Journal of the American Statistical Association 88 (1993) 899.
    """
    generator = np.random.default_rng(seed)
    drawn = strata.components(
        {key: squares / generator.chisquare(strata.df[key], DRAWS) for key, squares in strata.squares.items()}
    )
    total = drawn.sum(axis=-1, keepdims=True)
    shares = np.divide(drawn, total, out=np.zeros_like(drawn), where=total > 0)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
