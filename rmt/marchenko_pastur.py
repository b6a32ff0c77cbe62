"""The Marchenko–Pastur law: where the eigenvalues of pure noise lie.

For a `rows` × `cols` matrix W of independent entries of variance σ², with p = min and n = max of the two sides and
aspect γ = p/n, the p eigenvalues of the smaller Gram matrix of W, divided by n, follow this law as p and n grow.

Everything here goes through one angle. With r = √γ and φ in [0, π],

    x = σ² (1 + γ + 2 r cos φ),      φ = 2 atan2(√(λ₊ − x), √(x − λ₋)),      λ± = σ² (1 ± r)²,

which takes both square-root singularities away: φ = 0 is the upper edge, φ = π the lower one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rmt.errors import InvalidOption

NEWTON_STEPS = 100
"""Enough for the slowest case, a probability next to 0 or 1, where Newton's step shrinks the error by 2/3."""
QUANTILE_TOLERANCE = 2e-15
"""Probabilities are matched this closely, times 1/√γ: the rounding of the closed form itself."""


class MarchenkoPastur:
    """The law of `aspect` and `variance`; methods speak scipy and work on tensors of any shape.

    Args:
        aspect: γ = min(rows, cols) / max(rows, cols), in (0, 1].
        variance: σ² of one entry, positive; a tensor broadcasts against what the methods are given.

    Raises:
        InvalidOption: `aspect` outside (0, 1], or `variance` not positive and finite.

    >>> law = MarchenkoPastur(aspect=0.25)
    >>> [float(edge) for edge in law.support]
    [0.25, 2.25]
    """

    def __init__(self, aspect: float, variance: float | Tensor = 1.0) -> None:
        if not 0.0 < aspect <= 1.0:
            raise InvalidOption(f"aspect is {aspect}; it must lie in (0, 1]: the smaller over the larger side")
        self.aspect = float(aspect)
        self.variance = torch.as_tensor(variance, dtype=torch.float64)
        if not bool((torch.isfinite(self.variance) & (self.variance > 0)).all()):
            raise InvalidOption(f"variance is {variance}; it must be positive and finite")
        self._root = math.sqrt(self.aspect)

    def __repr__(self) -> str:
        return f"MarchenkoPastur(aspect={self.aspect}, variance={self.variance.tolist()})"

    @property
    def support(self) -> tuple[Tensor, Tensor]:
        """The edges λ₋ and λ₊, each of the shape of `variance`."""
        return self.variance * (1 - self._root) ** 2, self.variance * (1 + self._root) ** 2

    @property
    def mean(self) -> Tensor:
        """σ²."""
        return self.variance

    @property
    def var(self) -> Tensor:
        """γσ⁴, the variance of the eigenvalues."""
        return self.aspect * self.variance**2

    @property
    def median(self) -> Tensor:
        """The value that half of the eigenvalues lie below."""
        return self.ppf(torch.full_like(self.variance, 0.5))

    def pdf(self, x: Float[Tensor, "*k"]) -> Float64[Tensor, "*m"]:
        """Density √((λ₊ − x)(x − λ₋)) / (2πγσ²x) inside the support, 0 outside.

        At aspect 1 the density is infinite at 0.

        Source: Marchenko and Pastur 1967; Bai and Silverstein 2010, eq. (3.1.1).
        """
        x, variance = self._align(x)
        lower, upper = variance * (1 - self._root) ** 2, variance * (1 + self._root) ** 2
        product = ((upper - x) * (x - lower)).clamp(min=0)
        density = product.sqrt() / (2 * math.pi * self.aspect * variance * x)
        at_pole = (x == 0) & (lower == 0)
        return torch.where(at_pole, math.inf, torch.where(product > 0, density, 0.0))

    def cdf(self, x: Float[Tensor, "*k"]) -> Float64[Tensor, "*m"]:
        """Share of the eigenvalues at or below `x`: 0 below the support and 1 above it.

        Source: the integral of the density in the angle φ; with ψ = arg(1 + r e^{iφ}),
        F = 1 − [γφ − r sin φ + (1 − γ)ψ] / (πγ), with derivative −2 sin²φ / (π (1 + γ + 2r cos φ)) = pdf · dx/dφ.
        """
        x, variance = self._align(x)
        above = (variance * (1 + self._root) ** 2 - x).clamp(min=0)
        below = (x - variance * (1 - self._root) ** 2).clamp(min=0)
        inside = self._cdf_of_angle(2 * torch.atan2(above.sqrt(), below.sqrt()))
        # Both ends exactly: at aspect 1 the rounding of π would leave 4e-17 at the lower one.
        return torch.where(below == 0, 0.0, torch.where(above == 0, 1.0, inside))

    def ppf(self, q: Float[Tensor, "*k"]) -> Float64[Tensor, "*m"]:
        """Quantiles: the eigenvalues that a share `q` lies below.

        Args:
            q: Probabilities in [0, 1].

        Raises:
            InvalidOption: A probability lies outside [0, 1] or is NaN.

        Source: Newton's method on the angle form of `cdf`, kept inside a shrinking bracket.
        """
        q, variance = self._align(q)
        if not bool(((q >= 0) & (q <= 1)).all()):
            raise InvalidOption("a probability lies outside [0, 1]")
        half = self._angle(q) / 2
        # λ₋ + 4rσ² cos²(φ/2) is exact at φ = π; the two `where` make both ends exact.
        lower, upper = variance * (1 - self._root) ** 2, variance * (1 + self._root) ** 2
        inside = torch.minimum(lower + 4 * self._root * variance * half.cos() ** 2, upper)
        return torch.where(q == 0, lower, torch.where(q == 1, upper, inside))

    def rvs(
        self, size: tuple[int, ...] = (), generator: torch.Generator | None = None
    ) -> Float64[Tensor, "*size"]:
        """Independent draws (the eigenvalues of one matrix repel each other: they are not independent)."""
        return self.ppf(torch.rand(size, generator=generator, dtype=torch.float64))

    def _align(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.as_tensor(x).to(torch.float64)
        return x, self.variance.to(x.device)

    def _cdf_of_angle(self, angle: Tensor) -> Tensor:
        gamma, root = self.aspect, self._root
        sine = root * angle.sin()
        argument = torch.atan2(sine, 1 + root * angle.cos())
        # At the lower edge of aspect 1 the argument is atan2(0, 0) in exact arithmetic; its factor is 0 there.
        share = 1 - angle / math.pi + (sine - (1 - gamma) * argument) / (math.pi * gamma)
        return share.clamp(0, 1)

    def _angle(self, q: Tensor) -> Tensor:
        low, high = torch.zeros_like(q), torch.full_like(q, math.pi)
        angle = math.pi * (1 - q)
        tolerance = QUANTILE_TOLERANCE / self._root
        for _ in range(NEWTON_STEPS):
            excess = self._cdf_of_angle(angle) - q
            if bool((excess.abs() <= tolerance).all()):
                break
            low, high = torch.where(excess > 0, angle, low), torch.where(excess > 0, high, angle)
            slope = 2 * angle.sin() ** 2 / (math.pi * (1 + self.aspect + 2 * self._root * angle.cos()))
            step = angle + excess / slope
            usable = (step >= low) & (step <= high)
            angle = torch.where(usable, step, (low + high) / 2)
        return angle


@lru_cache(maxsize=512)
def quantile_table(rows: int, cols: int, shift: float = 0.5) -> Float64[Tensor, " p"]:
    """Quantiles of the unit law at (i + shift)/p for i = 0 … p − 1, ascending; cached by size.

    Args:
        rows: One side of the matrix, at least 1.
        cols: The other side, at least 1.
        shift: ½ for midpoints (unbiased to 1/p²), 0 for the i/p rule of BEMA and of the public notebook.
    """
    smaller, larger = sorted((rows, cols))
    probabilities = (torch.arange(smaller, dtype=torch.float64) + shift) / smaller
    return MarchenkoPastur(smaller / larger).ppf(probabilities)
