"""Spectra of weights: the one place where eigenvalues get their normalisation.

The eigenvalues are those of W Wᵀ / max(rows, cols) (or Wᵀ W, the smaller one): for independent entries of variance
σ² they follow the Marchenko–Pastur law of that variance. Singular values are s = √(max(rows, cols) · λ). Both
come in descending order, double precision and on the CPU, whatever the weight is.

Eigenvalues come from the Gram matrix of the smaller side, in double precision: several times cheaper than singular
values, and exact enough for all but values 1e-8 times the largest, which are noise of single-precision weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from rmt.eigen import gram_eigenvalues
from rmt.errors import InvalidWeight
from rmt.matrices import Factors, Weight, check_matrix, shape_of
from rmt.module_layers import matrix_of

ROUNDING = 4.0
"""A value that truncation removed comes back from rounding as an eigenvalue below ROUNDING · eps² · λ₁."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of one matrix, or of a stack of matrices of one shape.

    Attributes:
        weight: What it is the spectrum of.
        rows, cols: Shape of the matrix.
        eigenvalues: (*batch, p) of W Wᵀ / max(rows, cols), descending, at least 0.
    """

    weight: Weight
    rows: int
    cols: int
    eigenvalues: Float64[Tensor, "*batch p"]

    @property
    def smaller(self) -> int:
        """p, the number of eigenvalues."""
        return min(self.rows, self.cols)

    @property
    def larger(self) -> int:
        """n, which the eigenvalues are divided by."""
        return max(self.rows, self.cols)

    @property
    def aspect(self) -> float:
        """γ = p / n."""
        return self.smaller / self.larger

    @property
    def singular_values(self) -> Float64[Tensor, "*batch p"]:
        """√(n λ), descending."""
        return (self.larger * self.eigenvalues).sqrt()

    @property
    def nonzero(self) -> int:
        """Numerical rank: values above what rounding leaves of a removed one. Of a single matrix."""
        largest = float(self.eigenvalues[..., 0])
        first = self.weight.left if isinstance(self.weight, Factors) else self.weight
        share = max(self.smaller * torch.finfo(torch.float64).eps, ROUNDING * torch.finfo(first.dtype).eps ** 2)
        return int((self.eigenvalues > share * largest).sum())

    def unstack(self) -> list[Spectrum]:
        """The spectra of a stack one by one; a single spectrum is a list of itself."""
        if isinstance(self.weight, Factors) or self.eigenvalues.ndim == 1:
            return [self]
        return [
            Spectrum(weight, self.rows, self.cols, values)
            for weight, values in zip(self.weight, self.eigenvalues, strict=True)
        ]


class Core(NamedTuple):
    """W = basis_left · matrix · basis_right with orthonormal bases (None: the identity), in double precision."""

    matrix: Tensor
    basis_left: Tensor | None
    basis_right: Tensor | None


def core_of(weight: Weight) -> Core:
    """The matrix that carries the spectrum: the weight itself, or R₁R₂ᵀ of the factors' QR decompositions."""
    if not isinstance(weight, Factors):
        return Core(weight.detach().to(torch.float64), None, None)
    basis_left, left = torch.linalg.qr(weight.left.detach().to(torch.float64))
    basis_right, right = torch.linalg.qr(weight.right.detach().to(torch.float64).mT)
    return Core(left @ right.mT, basis_left, basis_right.mT)


def spectrum(weight: Weight | nn.Module) -> Spectrum:
    """Spectrum of a matrix, of a stack of matrices, of a pair of factors, or of one layer.

    The factors' spectrum comes from their QR decompositions, without the dense product; the values beyond their
    rank are exact zeros.

    Args:
        weight: (rows, cols); a stack (replicate, rows, cols); the kernel of a 2-d convolution (out, in, height,
            width), unfolded to out × in · height · width, or a stack of five dimensions of such; factors; or a
            layer: linear, 1-d or 2-d convolution (a grouped one gives the stack of its groups), embedding,
            attention (the stack of its q, k and v projections) or a factored one. A kernel of three dimensions
            can not be told from a stack: give the 1-d convolution itself. Whole networks: `rmt.analyse`.

    Raises:
        InvalidWeight: Wrong dimension or type, empty, NaN or infinite entries, or a module without a matrix of
            its own.
    """
    if isinstance(weight, nn.Module):
        weight = matrix_of(weight)
    if isinstance(weight, Factors):
        check_matrix(weight.left, what="left factor")
        check_matrix(weight.right, what="right factor")
        if weight.left.ndim == 3:
            raise InvalidWeight("factors are taken one replicate at a time: cut off the padding of each first")
    else:
        weight = weight.flatten(-3) if weight.ndim in (4, 5) else weight
        check_matrix(weight)
    rows, cols = shape_of(weight)
    values = gram_eigenvalues(core_of(weight).matrix).flip(-1).clamp(min=0)
    values = torch.nn.functional.pad(values, (0, min(rows, cols) - values.shape[-1]))
    return Spectrum(weight, rows, cols, values / max(rows, cols))


def hill_alpha(eigenvalues: Float64[Tensor, " p"], *, top: int = 20) -> float:
    """Tail exponent of the density λ^(−α): 1 + 1 / mean(log λ_i − log λ_{top+1}) over the `top` largest values.

    Infinite when the tail has no spread, NaN when fewer than two values are positive. Source: Hill 1975.
    """
    logs = eigenvalues[eigenvalues > 0].log()
    count = min(top, len(logs) - 1)
    if count < 1:
        return math.nan
    spread = float((logs[:count] - logs[count]).mean())
    return 1 + 1 / spread if spread > 0 else math.inf
