"""The loss on the straight line between two networks (SCIENCE §4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rmt.errors import InvalidOption
from rmt.landscape.matching import match_neurons
from rmt.landscape.objective import Loss, Objective


@dataclass(frozen=True)
class Barrier:
    """Loss along θ(t) = (1 − t) θ_a + t θ_b.

    Attributes:
        positions: (points,), from 0 to 1.
        losses: (points,).
    """

    positions: NDArray[np.float64]
    losses: NDArray[np.float64]

    @property
    def excess(self) -> NDArray[np.float64]:
        """Loss above the straight line between the ends, (points,)."""
        chord = (1 - self.positions) * self.losses[0] + self.positions * self.losses[-1]
        return self.losses - chord

    @property
    def height(self) -> float:
        """max_t [L(θ(t)) − ((1 − t) L_a + t L_b)]; 0 or more, since both ends are on the line."""
        return float(self.excess.max())


def barrier(
    first: nn.Module,
    second: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    points: int = 11,
    match: bool = False,
    loss: Loss = functional.cross_entropy,
    batch_size: int = 5000,
    seed: int = 0,
) -> Barrier:
    """Walk from one network to another of the same architecture: two seeds, or a dense and its pruned one.

    Low-rank layers count as their products, so a pruned network meets its dense twin. Floating-point buffers
    (batch-norm statistics) are interpolated like parameters.

    Args:
        first, second: The ends.
        data: (inputs, targets).
        points: On the line, both ends included; at least 3.
        match: Reorder the second network's hidden units first (MLPs only).
        loss: Mean over a batch.
        batch_size: Samples at once.
        seed: Of the matching.

    Raises:
        InvalidOption: The networks differ in shape, or too few points.
        NotAnMlp: `match` for something else than an MLP.
    """
    if points < 3:
        raise InvalidOption(f"points is {points}; allowed: 3 or more")
    other = match_neurons(first, second, seed=seed) if match else second
    start, end = (Objective(module, data, loss=loss, batch_size=batch_size) for module in (first, other))
    if start.shapes != end.shapes:
        raise InvalidOption("the two networks have parameters of different names or shapes")
    positions = np.linspace(0, 1, points)
    losses = [
        start.loss(torch.lerp(start.vector, end.vector, t), _between(start.buffers, end.buffers, t))
        for t in positions.tolist()
    ]
    return Barrier(positions, np.array(losses))


def _between(start: dict[str, Tensor], end: dict[str, Tensor], t: float) -> dict[str, Tensor]:
    return {
        name: torch.lerp(value, end[name], t) if value.is_floating_point() else value
        for name, value in start.items()
    }
