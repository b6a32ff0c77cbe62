"""Eigenvalues and eigenvectors of Gram matrices: the one expensive computation, in one place.

On the CPU it is scipy's LAPACK: the rank-k update `dsyrk` does half the work of a matrix product, and solvers for
a range of vectors exist. Large matrices use as many threads as torch is told to, small ones one, so that a fixed
number of threads means the same bits. On other devices it is torch.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
from torch import Tensor

SUBSET_SHARE = 0.2
"""Below this share of the vectors, a solver for a range of them beats the one for all (sides of 32 to 1000)."""
THREADED_SIDE = 512
"""From this side on, two threads are faster than one; below, they wait for each other and for torch's."""


def gram_eigenvalues(matrix: Float64[Tensor, "*batch rows cols"]) -> Float64[Tensor, "*batch p"]:
    """Eigenvalues of the smaller of W Wᵀ and Wᵀ W, ascending, on the CPU; one matrix at a time there."""
    if matrix.device.type != "cpu":
        return torch.linalg.eigvalsh(_torch_gram(matrix)).cpu()
    single = matrix.reshape(-1, *matrix.shape[-2:]).numpy()
    with _threads_for(min(matrix.shape[-2:])):
        values = [scipy.linalg.eigvalsh(_lower_gram(each), check_finite=False) for each in single]
    return torch.from_numpy(np.stack(values)).reshape(*matrix.shape[:-2], -1)


def gram_eigenvectors(matrix: Float64[Tensor, "rows cols"], first: int, last: int) -> Float64[Tensor, "p count"]:
    """Eigenvectors of the same at descending positions `first` … `last`, as columns, where the matrix is."""
    size = min(matrix.shape)
    if matrix.device.type != "cpu":
        return torch.linalg.eigh(_torch_gram(matrix)).eigenvectors.flip(-1)[:, first : last + 1]
    with _threads_for(size):
        symmetric = _lower_gram(matrix.numpy())
        if last - first + 1 < SUBSET_SHARE * size:
            wanted = [size - 1 - last, size - 1 - first]
            _, vectors = scipy.linalg.eigh(symmetric, subset_by_index=wanted, driver="evr", check_finite=False)
            return torch.from_numpy(vectors).flip(-1)
        _, vectors = scipy.linalg.eigh(symmetric, driver="evd", check_finite=False)
    return torch.from_numpy(vectors).flip(-1)[:, first : last + 1]


def _lower_gram(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lower triangle; the upper one is not filled."""
    rows, cols = matrix.shape
    lower: NDArray[np.float64] = dsyrk(1.0, matrix.T, trans=1 if rows <= cols else 0, lower=1)
    return lower


def _torch_gram(matrix: Tensor) -> Tensor:
    return matrix @ matrix.mT if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT @ matrix


def _threads_for(side: int) -> AbstractContextManager[object]:
    threads = torch.get_num_threads() if side >= THREADED_SIDE else 1
    limit: AbstractContextManager[object] = _controller().limit(limits=threads, user_api="blas")
    return limit


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
