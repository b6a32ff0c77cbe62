from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rmt
from rmt.errors import InvalidWeight
from rmt.matrices import dense


def matrix(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


sides = st.integers(1, 40)


@given(rows=sides, cols=sides, seed=st.integers(0, 99))
def test_singular_values_are_those_of_the_svd(rows: int, cols: int, seed: int) -> None:
    weight = matrix(rows, cols, seed)
    found = rmt.spectrum(weight)
    # Through the Gram matrix a value is exact to √eps of the largest.
    torch.testing.assert_close(
        found.singular_values, torch.linalg.svdvals(weight), rtol=1e-9, atol=1e-7 * float(weight.norm())
    )
    assert (found.smaller, found.larger) == (min(rows, cols), max(rows, cols))
    assert bool((found.eigenvalues.diff() <= 0).all())
    assert bool((found.eigenvalues >= 0).all())


@given(rows=sides, cols=sides)
def test_mean_eigenvalue_is_the_mean_square_entry(rows: int, cols: int) -> None:
    weight = matrix(rows, cols)
    assert float(rmt.spectrum(weight).eigenvalues.mean()) == pytest.approx(float(weight.square().mean()))


@given(rows=sides, cols=sides, seed=st.integers(0, 9))
def test_spectrum_does_not_see_transposition_order_or_rotation(rows: int, cols: int, seed: int) -> None:
    weight = matrix(rows, cols, seed)
    expected = rmt.spectrum(weight).eigenvalues
    generator = torch.Generator().manual_seed(seed)
    shuffled = weight[torch.randperm(rows, generator=generator)][:, torch.randperm(cols, generator=generator)]
    rotation = torch.linalg.qr(matrix(rows, rows, seed + 1)).Q
    for other in (weight.mT, shuffled, rotation @ weight):
        torch.testing.assert_close(rmt.spectrum(other).eigenvalues, expected, rtol=1e-9, atol=1e-12)


@given(scale=st.floats(1e-6, 1e6))
def test_eigenvalues_scale_with_the_square(scale: float) -> None:
    weight = matrix(20, 30)
    expected = scale**2 * rmt.spectrum(weight).eigenvalues
    torch.testing.assert_close(rmt.spectrum(scale * weight).eigenvalues, expected, rtol=1e-9, atol=0)


def test_stack_is_the_same_as_one_by_one() -> None:
    stack = torch.stack([matrix(12, 20, seed) for seed in range(3)]).float()
    together = rmt.spectrum(stack)
    assert together.eigenvalues.shape == (3, 12)
    for single, alone in zip(together.unstack(), stack, strict=True):
        torch.testing.assert_close(single.eigenvalues, rmt.spectrum(alone).eigenvalues, rtol=1e-12, atol=1e-14)
        assert torch.equal(dense(single.weight), alone)


@given(rows=st.integers(2, 30), cols=st.integers(2, 30), rank=st.integers(1, 40))
def test_factors_have_the_spectrum_of_their_product(rows: int, cols: int, rank: int) -> None:
    factors = rmt.Factors(matrix(rows, rank, 1), matrix(rank, cols, 2))
    found, expected = rmt.spectrum(factors), rmt.spectrum(factors.compose())
    torch.testing.assert_close(
        found.eigenvalues, expected.eigenvalues, rtol=1e-8, atol=1e-12 * float(expected.eigenvalues[0])
    )
    assert found.nonzero == min(rank, rows, cols)
    assert bool((found.eigenvalues[min(rank, rows, cols) :] == 0).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_removed_values_are_zero_in_every_type(dtype: torch.dtype) -> None:
    u, s, v = torch.linalg.svd(matrix(60, 80))
    truncated = (u[:, :25] * s[:25]) @ v[:25]
    assert rmt.spectrum(truncated.to(dtype)).nonzero == 25
    assert rmt.spectrum(matrix(60, 80).to(dtype)).nonzero == 60


def test_special_matrices_have_a_spectrum() -> None:
    assert rmt.spectrum(torch.zeros(4, 6)).nonzero == 0
    assert rmt.spectrum(torch.ones(1, 6)).singular_values.tolist() == pytest.approx([6**0.5])
    assert rmt.spectrum(torch.eye(5)).singular_values.tolist() == pytest.approx([1.0] * 5)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(3), r"shape \(3,\)"),
        (torch.zeros(2, 3, 4, 5, 6, 7), r"shape \(2, 3, 4, 5, 6, 7\)"),
        (torch.zeros(0, 3), r"shape \(0, 3\)"),
        (torch.zeros(2, 2, dtype=torch.complex64), "complex64"),
        (torch.zeros(2, 2, dtype=torch.int32), "int32"),
    ],
)
def test_what_has_no_spectrum_is_refused(weight: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidWeight, match=message):
        rmt.spectrum(weight)


def test_unusable_entries_are_counted_and_placed() -> None:
    weight = torch.zeros(4, 5)
    weight[2, 3] = math.nan
    weight[3, 0] = math.inf
    with pytest.raises(InvalidWeight, match=r"weight has 2 NaN or infinite entries, the first at \(2, 3\)"):
        rmt.spectrum(weight)
    with pytest.raises(InvalidWeight, match=r"right factor has 2 NaN or infinite entries, the first at \(2, 3\)"):
        rmt.spectrum(rmt.Factors(torch.ones(6, 4), weight))


def test_a_replicate_with_nan_leaves_the_spectra_of_the_others() -> None:
    stack = torch.stack([matrix(12, 20, seed) for seed in range(3)])
    clean = rmt.spectrum(stack).eigenvalues
    stack[1, 2, 3] = math.nan
    found = rmt.spectrum(stack)
    assert torch.equal(found.eigenvalues[[0, 2]], clean[[0, 2]])
    assert bool(found.eigenvalues[1].isnan().all())
    assert found.unstack()[1].nonzero == 0
    assert bool(rmt.spectrum(torch.full((2, 3, 4), math.nan)).eigenvalues.isnan().all())


def test_hill_alpha_of_a_power_law() -> None:
    # Quantiles of the density (α − 1) λ^(−α), α = 3.
    q = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    values = ((1 - q) ** (-1 / 2)).flip(0)
    assert rmt.hill_alpha(values, top=2000) == pytest.approx(3, rel=0.02)
    assert math.isnan(rmt.hill_alpha(torch.zeros(5, dtype=torch.float64)))
    assert rmt.hill_alpha(torch.ones(30, dtype=torch.float64)) == math.inf


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(7, 5), (5, 7)),
        (nn.Conv1d(4, 6, 3, dilation=2), (6, 12)),
        (nn.Conv2d(3, 8, (3, 2), dilation=2), (8, 18)),
        (nn.Conv2d(4, 8, 3, groups=2), (2, 4, 18)),
        (nn.Conv1d(6, 6, 3, groups=3), (3, 2, 6)),
        (nn.Embedding(11, 4), (11, 4)),
        (nn.MultiheadAttention(6, 2), (3, 6, 6)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layer_gives_the_spectrum_of_each_of_its_matrices(layer: nn.Module, shape: tuple[int, ...]) -> None:
    found = rmt.spectrum(layer)
    assert (found.rows, found.cols) == shape[-2:]
    parameter = layer.in_proj_weight if isinstance(layer, nn.MultiheadAttention) else layer.weight
    assert isinstance(parameter, torch.Tensor)
    matrices = parameter.detach().double().reshape(shape)
    expected = torch.linalg.svdvals(matrices)
    torch.testing.assert_close(found.singular_values, expected, rtol=1e-9, atol=1e-7)


def test_layer_of_several_matrices_gets_a_fit_for_each() -> None:
    attention = nn.MultiheadAttention(60, 2)
    fits = rmt.fit_stack(attention)
    assert fits == [rmt.fit(matrix) for name, matrix in rmt.matrices_of(attention).items() if "[" in name]
    assert len(fits) == 3


def test_kernel_is_unfolded_and_a_stack_of_kernels_stays_a_stack() -> None:
    kernels = torch.randn(2, 6, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    together = rmt.spectrum(kernels)
    assert (together.rows, together.cols, tuple(together.eigenvalues.shape)) == (6, 27, (2, 6))
    for kernel, single in zip(kernels, together.unstack(), strict=True):
        torch.testing.assert_close(rmt.spectrum(kernel).eigenvalues, single.eigenvalues, rtol=1e-12, atol=1e-14)


def test_factored_layer_gives_the_spectrum_of_its_product() -> None:
    factors = rmt.Factors(matrix(8, 2, 1), matrix(2, 9, 2))
    found = rmt.spectrum(rmt.LowRankLinear(factors))
    torch.testing.assert_close(found.eigenvalues, rmt.spectrum(factors).eigenvalues)


def test_module_without_one_matrix_says_what_has_one() -> None:
    with pytest.raises(InvalidWeight, match=r"a Sequential has no weight matrix of its own.*rmt\.analyse"):
        rmt.spectrum(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(InvalidWeight, match=r"differ in shape.*\(6, 4\).*rmt\.matrices_of"):
        rmt.spectrum(nn.MultiheadAttention(6, 2, kdim=4, vdim=5))
