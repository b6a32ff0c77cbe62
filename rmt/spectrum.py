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
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from rmt.eigen import gram_eigenvalues
from rmt.matrices import Factors, Weight, check_finite, check_form, is_finite, on_host, shape_of
from rmt.module_layers import matrix_of

SAFE_SQUARE = 1e-12, 1e24
"""Sum of squares within which those of single precision neither vanish nor overflow where it matters."""
DEAD = 1e-5
"""Rows and columns of a norm below this share of the largest one are dead: those of units that train no more."""

GAP, LONE_GAP = 10.0, 90.0
"""z removed singular values lie below the others by this factor, GAP + LONE_GAP / z²: the smallest value or two of
a whole spectrum lie apart by chance."""


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

    @cached_property
    def nonzero(self) -> int:
        """Numerical rank of a single matrix: p, less the values that are zero and those that truncation removed.

        A value of which the Gram matrix in double precision holds nothing, up to p eps λ₁, is zero. What
        truncation removed comes back larger, from rounding to the weight's type: entries of relative error eps
        are a noise matrix of their own, and z of its values at the bottom reach √mean(w²) eps (√(n − p + z) + √z).
        Values as small as that count as removed only if they lie far below the next one: small values of a bulk
        that nothing was removed from follow each other closely.

        Source of the bound: Davidson and Szarek 2001, theorem 2.13.
        """
        ascending = self.eigenvalues.flip(-1)
        floor = self.smaller * torch.finfo(torch.float64).eps * float(ascending[-1])
        return min(int((ascending > floor).sum()), self.smaller - self._removed(ascending))

    def _removed(self, ascending: Tensor) -> int:
        first = self.weight.left if isinstance(self.weight, Factors) else self.weight
        count = torch.arange(1, self.smaller, dtype=torch.float64)
        reach = ((self.larger - self.smaller + count).sqrt() + count.sqrt()).square() / self.larger
        small = (ascending[:-1] <= torch.finfo(first.dtype).eps ** 2 * ascending.mean() * reach).nonzero()
        if len(small) == 0:
            return 0
        removed = int(small[-1]) + 1
        gap = GAP + LONE_GAP / removed**2
        return removed if float(ascending[removed]) >= gap**2 * float(ascending[removed - 1]) else 0

    @cached_property
    def live(self) -> Spectrum:
        """The spectrum of a single matrix without its dead rows and columns; itself if there are none.

        Dead rows and columns are no noise: the law holds for what is left, with its own sides and aspect. Singular
        values are the same, but for p − p′ that vanish with them; eigenvalues are over n′ in place of n.
        """
        if not isinstance(self.weight, Factors) and self.weight.ndim != 2:
            return self  # it was drawn without a matrix
        left, right = self.weight if isinstance(self.weight, Factors) else (self.weight, self.weight)
        rows, cols = _alive(left) if left is right else (_alive(left)[0], _alive(right)[1])
        shape = int(rows.sum()), int(cols.sum())
        if shape == (self.rows, self.cols) or 0 in shape:
            return self
        weight = (
            Factors(left.detach()[rows], right.detach()[:, cols])
            if isinstance(self.weight, Factors)
            else left.detach()[rows][:, cols]
        )
        values = self.eigenvalues[: min(shape)] * (self.larger / max(shape))
        return Spectrum(weight, *shape, values)

    def unstack(self) -> list[Spectrum]:
        """The spectra of a stack one by one; a single spectrum is a list of itself."""
        if isinstance(self.weight, Factors) or self.eigenvalues.ndim == 1:
            return [self]
        return [
            Spectrum(weight, self.rows, self.cols, values)
            for weight, values in zip(self.weight, self.eigenvalues, strict=True)
        ]


def _alive(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows and which columns have a norm that counts."""
    entries = on_host(matrix.cpu())
    entries = entries.astype(np.float32) if entries.dtype == np.float16 else entries
    if not SAFE_SQUARE[0] < float(np.vdot(entries, entries)) < SAFE_SQUARE[1]:
        entries = entries / (np.abs(entries).max() or 1)
    rows, cols = (np.einsum(f"ij,ij->{kept}", entries, entries) for kept in "ij")
    alive = [torch.from_numpy(norms > DEAD**2 * norms.max()).to(matrix.device) for norms in (rows, cols)]
    return alive[0], alive[1]


class Core(NamedTuple):
    """W = basis_left · matrix · basis_right with orthonormal bases (None: the identity), in double precision."""

    matrix: Tensor
    basis_left: Tensor | None
    basis_right: Tensor | None


def core_of(weight: Weight) -> Core:
    """The matrix that carries the spectrum: the weight itself, or R₁R₂ᵀ of the factors' QR decompositions."""
    if not isinstance(weight, Factors):
        return Core(_double(weight), None, None)
    basis_left, left = torch.linalg.qr(weight.left.detach().to(torch.float64))
    basis_right, right = torch.linalg.qr(weight.right.detach().to(torch.float64).mT)
    return Core(left @ right.mT, basis_left, basis_right.mT)


def _double(matrix: Tensor) -> Tensor:
    if matrix.device.type != "cpu":
        return matrix.detach().to(torch.float64)
    return torch.from_numpy(on_host(matrix).astype(np.float64))


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
            its own. NaN in a stack does not raise: such a replicate has a spectrum of NaN, and the others theirs.
    """
    if isinstance(weight, nn.Module):
        weight = matrix_of(weight)
    if not isinstance(weight, Factors):
        weight = weight.flatten(-3) if weight.ndim in (4, 5) else weight
    check_form(weight)
    rows, cols = shape_of(weight)
    if isinstance(weight, Tensor) and weight.ndim == 3:
        return Spectrum(weight, rows, cols, _stacked_eigenvalues(weight))
    check_finite(weight)
    values = gram_eigenvalues(core_of(weight).matrix).flip(-1).clamp(min=0)
    values = torch.nn.functional.pad(values, (0, min(rows, cols) - values.shape[-1]))
    return Spectrum(weight, rows, cols, values / max(rows, cols))


def _stacked_eigenvalues(stack: Tensor) -> Tensor:
    """Of each matrix; one with NaN fails a whole batch on some devices, so it stays out of it."""
    usable = torch.tensor([is_finite(matrix) for matrix in stack], device=stack.device)
    values = torch.full((len(stack), min(stack.shape[1:])), torch.nan, dtype=torch.float64)
    if bool(usable.any()):
        chosen = stack if bool(usable.all()) else stack[usable]
        values[usable.cpu()] = gram_eigenvalues(core_of(chosen).matrix).flip(-1).clamp(min=0)
    return values / max(stack.shape[1:])


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
