from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rmt
from rmt.errors import InvalidWeight
from rmt.matrices import saves, shape_of


def factors(rows: int, rank: int, cols: int) -> rmt.Factors:
    generator = torch.Generator().manual_seed(rank)
    return rmt.Factors(torch.randn(rows, rank, generator=generator), torch.randn(rank, cols, generator=generator))


def test_parameters_of_every_form() -> None:
    assert rmt.parameters(torch.ones(3, 4)) == 12
    assert rmt.parameters(torch.tensor([[1.0, 0.0], [0.0, 2.0]])) == 2
    assert rmt.parameters(factors(5, 2, 7)) == 2 * (5 + 7)


@given(rows=st.integers(1, 60), cols=st.integers(1, 60), rank=st.integers(0, 60))
def test_factors_save_exactly_below_the_break_even_rank(rows: int, cols: int, rank: int) -> None:
    assert saves(rank, rows, cols) == (rank < rows * cols / (rows + cols))


def test_break_even_ranks_of_the_paper() -> None:
    for rows, cols, last in ((3000, 3000, 1499), (784, 3000, 621), (500, 3000, 428), (10, 500, 9)):
        assert saves(last, rows, cols)
        assert not saves(last + 1, rows, cols)


@settings(max_examples=20)
@given(ranks=st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_padding_changes_no_product_and_nothing_learns_in_it(ranks: list[int]) -> None:
    pairs = [factors(5, rank, 7) for rank in ranks]
    stack = rmt.pad_factors(pairs)
    assert stack.left.shape == (len(ranks), 5, max(ranks))
    assert stack.right.shape == (len(ranks), max(ranks), 7)
    left, right = stack.left.requires_grad_(), stack.right.requires_grad_()
    (left @ right).square().sum().backward()
    for r, pair in enumerate(pairs):
        torch.testing.assert_close((left @ right)[r], pair.compose())
        assert left.grad is not None
        assert not bool(left.grad[r, :, pair.rank :].any())


@pytest.mark.parametrize("pairs", [[], [factors(5, 1, 7), factors(5, 1, 8)]])
def test_only_one_shape_can_be_stacked(pairs: list[rmt.Factors]) -> None:
    with pytest.raises(InvalidWeight, match="factors of one shape"):
        rmt.pad_factors(pairs)


def test_shapes() -> None:
    assert shape_of(factors(5, 2, 7)) == (5, 7)
    assert shape_of(torch.zeros(4, 5, 7)) == (5, 7)
