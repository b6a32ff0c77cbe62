"""The loss along random directions, normalised filter by filter so that scales do not matter.

Source: Li et al. 2018 (arXiv:1712.09913): d_ij ← d_ij / ‖d_ij‖ · ‖θ_ij‖ for each output row or filter; biases
and normalisation parameters stay where they are (SCIENCE §4.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from rmt.errors import InvalidOption
from rmt.landscape.objective import Objective

WIDTH_RISE = 0.1


@dataclass(frozen=True)
class Slice:
    """Loss along one direction. Where a loss is NaN or infinite, what is told of the curve is NaN.

    Attributes:
        positions: (points,), in units of the filters' norms; 0 is the trained network.
        losses: (points,).
    """

    positions: NDArray[np.float64]
    losses: NDArray[np.float64]

    @property
    def _fit(self) -> NDArray[np.float64]:
        return np.polyfit(self.positions, self.losses, 2) if self._is_finite else np.full(3, np.nan)

    @property
    def _is_finite(self) -> bool:
        return bool(np.isfinite(self.losses).all())

    @property
    def curvature(self) -> float:
        """Second derivative of the least-squares parabola."""
        return 2 * float(self._fit[0])

    @property
    def roughness(self) -> float:
        """Root mean square of the residuals from that parabola."""
        return float(np.sqrt(np.mean((self.losses - np.polyval(self._fit, self.positions)) ** 2)))

    @property
    def nonconvex_share(self) -> float:
        """Share of interior points with a negative second difference (beyond float32 rounding), 0..1."""
        if not self._is_finite:
            return math.nan
        second = np.diff(self.losses, 2)
        rounding = 4 * float(np.finfo(np.float32).eps) * float(np.abs(self.losses).max())
        return float(np.mean(second < -rounding))

    @property
    def width(self) -> float:
        """Length of the stretch around the lowest point where the loss stays within 0.1 of it.

        Linear between points; at most the slice's own length, see `width_is_cut`.
        """
        left, right = self._shoulders()
        return right - left

    @property
    def width_is_cut(self) -> bool:
        """Whether the stretch runs into an end of the slice, so that the true width is larger."""
        left, right = self._shoulders()
        return bool(left == self.positions[0] or right == self.positions[-1])

    def _shoulders(self) -> tuple[float, float]:
        if not self._is_finite:
            return math.nan, math.nan
        lowest = int(self.losses.argmin())
        level = self.losses[lowest] + WIDTH_RISE
        right = _crossing(self.positions[lowest:], self.losses[lowest:], level)
        left = _crossing(self.positions[lowest::-1], self.losses[lowest::-1], level)
        return left, right

    def summary(self) -> dict[str, float]:
        """The four numbers of SCIENCE §4.3 by name."""
        return {
            "curvature": self.curvature,
            "width": self.width,
            "nonconvex_share": self.nonconvex_share,
            "roughness": self.roughness,
        }


@dataclass(frozen=True)
class Surface:
    """Loss over two directions: `losses[i, j]` at (positions[i], positions[j])."""

    positions: NDArray[np.float64]
    losses: NDArray[np.float64]


def _crossing(positions: NDArray[np.float64], losses: NDArray[np.float64], level: float) -> float:
    """Where the loss first passes `level`, walking along; the last position when it never does."""
    above = np.flatnonzero(losses > level)
    if len(above) == 0:
        return float(positions[-1])
    k = int(above[0])
    part = (level - losses[k - 1]) / (losses[k] - losses[k - 1])
    return float(positions[k - 1] + part * (positions[k] - positions[k - 1]))


def direction(objective: Objective, generator: torch.Generator) -> Float[Tensor, " parameters"]:
    """A random direction whose every filter is as long as the network's own; zero for biases and the like."""
    noise = torch.randn(objective.vector.shape, generator=generator).to(objective.vector)
    drawn, own = objective.unflatten(noise), objective.unflatten(objective.vector)
    return torch.cat([_filter_normalised(drawn[name], own[name]).flatten() for name in own])


def _filter_normalised(drawn: Tensor, own: Tensor) -> Tensor:
    if own.ndim < 2:
        return torch.zeros_like(own)
    rows = drawn.flatten(1)
    length = own.flatten(1).norm(dim=1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True) * length


def slice_1d(objective: Objective, *, points: int = 21, reach: float = 1.0, seed: int = 0) -> Slice:
    """Loss at `points` places on [−reach, reach] along one filter-normalised direction.

    Raises:
        InvalidOption: Fewer than 4 points (a parabola then leaves no residual) or a reach of 0 or less.
    """
    positions = _positions(points, reach)
    along = direction(objective, torch.Generator().manual_seed(seed))
    losses = [objective.loss(objective.vector + t * along) for t in positions.tolist()]
    return Slice(positions, np.array(losses))


def slice_2d(objective: Objective, *, points: int = 25, reach: float = 1.0, seed: int = 0) -> Surface:
    """Loss on a `points` × `points` grid over two independent filter-normalised directions.

    Raises:
        InvalidOption: Fewer than 4 points or a reach of 0 or less.
    """
    positions = _positions(points, reach)
    generator = torch.Generator().manual_seed(seed)
    first, second = direction(objective, generator), direction(objective, generator)
    losses = [
        [objective.loss(objective.vector + s * first + t * second) for t in positions.tolist()]
        for s in positions.tolist()
    ]
    return Surface(positions, np.array(losses))


def _positions(points: int, reach: float) -> NDArray[np.float64]:
    if points < 4 or reach <= 0:
        raise InvalidOption(f"points is {points} and reach {reach}; allowed: 4 or more, above 0")
    return np.linspace(-reach, reach, points)
