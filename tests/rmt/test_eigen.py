from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rmt.eigen import gram_eigenvalues, gram_eigenvectors


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (1, 5), (5, 1), (3, 12, 20), (2, 3, 20, 12)])
def test_values_are_those_of_torch(shape: tuple[int, ...]) -> None:
    matrix = noise(*shape)
    smaller = matrix @ matrix.mT if shape[-2] <= shape[-1] else matrix.mT @ matrix
    torch.testing.assert_close(gram_eigenvalues(matrix), torch.linalg.eigvalsh(smaller), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("matrix", [noise(30, 20).mT, noise(40, 60)[::2, ::2], noise(20, 30).flip(0)])
def test_memory_layout_does_not_matter(matrix: Tensor) -> None:
    expected = gram_eigenvalues(matrix.contiguous().clone())
    torch.testing.assert_close(gram_eigenvalues(matrix), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 4), (3, 7), (0, 19), (19, 19)])
@pytest.mark.parametrize("shape", [(20, 30), (30, 20)])
def test_vectors_belong_to_their_values(shape: tuple[int, int], first: int, last: int) -> None:
    matrix = noise(*shape)
    vectors = gram_eigenvectors(matrix, first, last)
    values = gram_eigenvalues(matrix).flip(0)[first : last + 1]
    smaller = matrix @ matrix.mT if shape[0] <= shape[1] else matrix.mT @ matrix
    torch.testing.assert_close(smaller @ vectors, vectors * values, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(
        vectors.mT @ vectors, torch.eye(last - first + 1, dtype=torch.float64), rtol=0, atol=1e-10
    )


def test_the_matrix_is_left_as_it_was() -> None:
    matrix = noise(20, 30)
    before = matrix.clone()
    gram_eigenvalues(matrix)
    gram_eigenvectors(matrix, 0, 3)
    assert torch.equal(matrix, before)


def test_small_matrices_have_the_same_bits_on_any_number_of_threads() -> None:
    matrix = noise(300, 400)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append((gram_eigenvalues(matrix), gram_eigenvectors(matrix, 0, 99)))
    finally:
        torch.set_num_threads(before)
    (values, vectors), (again, vectors_again) = found
    assert torch.equal(values, again)
    assert torch.equal(vectors, vectors_again)
