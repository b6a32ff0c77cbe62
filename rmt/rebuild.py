"""Weights with new singular values: the same singular vectors, only as many of them as are needed.

With U the eigenvectors of W Wᵀ that belong to the kept values, Uᵀ W = S Vᵀ needs no second decomposition. (For
a tall matrix everything is transposed.) Truncation is then a projection, and ⟨kept, removed⟩ = 0.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from rmt.eigen import gram_eigenvectors
from rmt.matrices import Factors, Weight, saves
from rmt.spectrum import Spectrum, core_of


def rebuild(spectrum: Spectrum, values: Float64[Tensor, " p"], *, factorable: bool = True) -> Weight:
    """The weight of `spectrum` with `values` in place of its singular values.

    Args:
        spectrum: Of a single matrix.
        values: (p,) aligned with `spectrum.singular_values`; zeros remove.
        factorable: Whether a dense matrix may become factors.

    Returns:
        Balanced factors U √d and √d Vᵀ if the weight was factored, or if they have fewer parameters than the dense
        matrix; else the dense matrix. Type and device are those of the weight.
    """
    weight = spectrum.weight
    core = core_of(weight)
    size = min(core.matrix.shape)
    before, after = spectrum.singular_values[:size], values[:size]
    if isinstance(weight, Tensor):
        rank = int(torch.count_nonzero(after))
        if not (factorable and saves(rank, spectrum.rows, spectrum.cols)):
            return _dense(core.matrix, before, after).to(weight.dtype)
        dtype = weight.dtype
    else:
        dtype = weight.left.dtype
    left, right = _factors(core.matrix, before, after)
    left = left if core.basis_left is None else core.basis_left @ left
    right = right if core.basis_right is None else right @ core.basis_right
    return Factors(left.to(dtype).contiguous(), right.to(dtype).contiguous())


def singular_vectors(spectrum: Spectrum, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Left (rows, k) and right (cols, k) singular vectors at descending `positions`, double precision.

    Vectors of the larger side come by multiplication and division by the singular value: those of values next to
    zero are noise there.
    """
    core = core_of(spectrum.weight)
    short = _short_vectors(core.matrix, positions)
    wide = core.matrix.shape[0] <= core.matrix.shape[1]
    other = core.matrix.mT @ short if wide else core.matrix @ short
    other = other / torch.linalg.vector_norm(other, dim=0).clamp(min=torch.finfo(torch.float64).tiny)
    left, right = (short, other) if wide else (other, short)
    left = left if core.basis_left is None else core.basis_left @ left
    right = right if core.basis_right is None else core.basis_right.mT @ right
    return left, right


def _dense(matrix: Tensor, before: Tensor, after: Tensor) -> Tensor:
    kept, changed = after.nonzero()[:, 0], (after != before).nonzero()[:, 0]
    wide = matrix.shape[0] <= matrix.shape[1]
    use_kept = len(kept) < len(changed)
    positions = kept if use_kept else changed
    short = _short_vectors(matrix, positions)
    scale = (after / before)[positions].to(matrix.device) - (0.0 if use_kept else 1.0)
    change = (short * scale) @ (short.mT @ matrix) if wide else (matrix @ short) @ (short * scale).mT
    return change if use_kept else matrix + change


def _factors(matrix: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    positions = after.nonzero()[:, 0]
    short = _short_vectors(matrix, positions)
    root = after[positions].sqrt().to(matrix.device)
    inverse = root / before[positions].to(matrix.device)
    if matrix.shape[0] <= matrix.shape[1]:
        return short * root, inverse[:, None] * (short.mT @ matrix)
    return (matrix @ short) * inverse, (short * root).mT


def _short_vectors(matrix: Tensor, positions: Tensor) -> Tensor:
    """Eigenvectors of the smaller Gram matrix at descending `positions`, as columns."""
    if len(positions) == 0:
        return matrix.new_zeros(min(matrix.shape), 0)
    first, last = int(positions.min()), int(positions.max())
    return gram_eigenvectors(matrix, first, last)[:, (positions - first).to(matrix.device)]
