"""The Tracy–Widom law of order 1: how the largest eigenvalue of real noise fluctuates about the edge.

A table of the distribution function and its derivative (`rmt/tracy_widom.csv`, made by `rmt/make_tracy_widom.py`)
and the cubic Hermite interpolant of both: monotone on this grid, exact to 1e-9 between probabilities 1e-3 and
1 − 1e-3. No public package is needed for it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rmt.errors import InvalidOption

BISECTIONS = 60
"""Halvings of one grid cell: below the last place of a double."""


@cache
def _table() -> tuple[Tensor, Tensor, Tensor]:
    with (files("rmt") / "tracy_widom.csv").open() as lines:
        columns = np.loadtxt(lines, delimiter=",", unpack=True)
    position, cdf, pdf = (torch.from_numpy(np.ascontiguousarray(column)) for column in columns)
    return position, cdf, pdf


def cdf(x: Float[Tensor, "*k"] | float) -> Float64[Tensor, "*k"]:
    """Probability that the scaled largest eigenvalue is at most `x`; 0 below −8 and 1 above 12."""
    position, _, _ = _table()
    x = torch.as_tensor(x, dtype=torch.float64)
    cell = (torch.searchsorted(position, x.cpu()) - 1).clamp(0, len(position) - 2)
    inside = _hermite(cell, (x.cpu() - position[cell]) / (position[cell + 1] - position[cell]))
    bounded = torch.where(x.cpu() < position[0], 0.0, torch.where(x.cpu() > position[-1], 1.0, inside))
    return bounded.clamp(0, 1).to(x.device)


def ppf(q: Float[Tensor, "*k"] | float) -> Float64[Tensor, "*k"]:
    """Quantiles; exact to 1e-8 for probabilities in [1e-3, 1 − 1e-3].

    Args:
        q: Probabilities strictly between the table's ends, about 1e-10 and 1 − 1e-12.

    Raises:
        InvalidOption: A probability is not strictly between 0 and 1, or beyond the table.
    """
    position, values, _ = _table()
    q = torch.as_tensor(q, dtype=torch.float64)
    target = q.cpu()
    if not bool(((target >= values[0]) & (target <= values[-1])).all()):
        ends = f"[{float(values[0]):.1e}, 1 - {1 - float(values[-1]):.1e}]"
        raise InvalidOption(f"a Tracy–Widom probability lies outside {ends}: {q.tolist()}")
    cell = (torch.searchsorted(values, target) - 1).clamp(0, len(values) - 2)
    low, high = torch.zeros_like(target), torch.ones_like(target)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_low = _hermite(cell, middle) < target
        low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
    return (position[cell] + (low + high) / 2 * (position[cell + 1] - position[cell])).to(q.device)


def _hermite(cell: Tensor, t: Tensor) -> Tensor:
    """Cubic with the table's values and slopes at both ends of `cell`, at the share `t` of its width."""
    position, values, slopes = _table()
    width = position[cell + 1] - position[cell]
    rise = values[cell + 1] - values[cell]
    a, b = slopes[cell] * width - rise, rise - slopes[cell + 1] * width
    return values[cell] + t * rise + t * (1 - t) * ((1 - t) * a + t * b)
