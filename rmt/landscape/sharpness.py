"""How much the loss rises near a network: in the worst direction, and on average (SCIENCE §4.2).

Sources: SAM, Foret et al. 2021 (arXiv:2010.01412), eq. 2; adaptive SAM, Kwon et al. 2021 (arXiv:2102.11600),
whose step maximises ⟨g, ε⟩ over ‖ε / |θ|‖ ≤ ρ: by Cauchy–Schwarz ε = ρ θ² g / ‖θ g‖.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rmt.errors import InvalidOption
from rmt.landscape.objective import Objective


@dataclass(frozen=True)
class ExpectedSharpness:
    """Mean rise of the loss over random perturbations, its standard error and the number of draws."""

    estimate: float
    standard_error: float
    draws: int


def sam(objective: Objective, *, radius: float = 0.05) -> float:
    """L(θ + ρ g/‖g‖) − L(θ): the rise after one step of length ρ = `radius` uphill; 0 where the gradient is.

    Raises:
        InvalidOption: A radius of 0 or less.
    """
    _check_radius(radius)
    gradient = objective.gradient()
    return _rise(objective, gradient, radius / _length(gradient))


def adaptive(objective: Objective, *, radius: float = 0.5) -> float:
    """L(θ + ρ θ² g / ‖θ g‖) − L(θ): unchanged when a layer is scaled up and the next one down.

    Raises:
        InvalidOption: A radius of 0 or less.
    """
    _check_radius(radius)
    gradient = objective.gradient()
    scaled = objective.vector * gradient
    return _rise(objective, objective.vector * scaled, radius / _length(scaled))


def expected(objective: Objective, *, scale: float = 0.1, draws: int = 10, seed: int = 0) -> ExpectedSharpness:
    """Mean of L(θ + ξ) − L(θ), ξ_ij ~ N(0, (c ‖θ_filter‖ / √d)²) with c = `scale` and d entries a filter.

    One-dimensional parameters (biases, normalisation) stay.

    Raises:
        InvalidOption: A scale of 0 or less, or fewer than 2 draws.
    """
    if scale <= 0 or draws < 2:
        raise InvalidOption(f"scale is {scale} and draws {draws}; allowed: above 0, and 2 or more")
    generator = torch.Generator().manual_seed(seed)
    deviation = torch.cat([_spread(part).flatten() for part in objective.unflatten(objective.vector).values()])
    here = objective.loss()
    rises = []
    for _ in range(draws):
        noise = torch.randn(objective.vector.shape, generator=generator).to(objective.vector)
        rises.append(objective.loss(objective.vector + scale * deviation * noise) - here)
    error = float(np.std(rises, ddof=1)) / math.sqrt(draws)
    return ExpectedSharpness(float(np.mean(rises)), error, draws)


def _spread(parameter: Tensor) -> Tensor:
    """Root mean square of each filter, in the parameter's shape; 0 for one-dimensional parameters."""
    if parameter.ndim < 2:
        return torch.zeros_like(parameter)
    rows = parameter.flatten(1)
    return rows.square().mean(1, keepdim=True).sqrt().expand_as(rows)


def _check_radius(radius: float) -> None:
    if radius <= 0:
        raise InvalidOption(f"radius is {radius}; allowed: above 0")


def _length(vector: Tensor) -> float:
    """‖vector‖, or infinity for a zero vector, so that a step along it is none."""
    return float(vector.norm()) or math.inf


def _rise(objective: Objective, uphill: Tensor, step: float) -> float:
    return objective.loss(objective.vector + step * uphill) - objective.loss()
