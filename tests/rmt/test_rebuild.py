from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rmt
from rmt.matrices import Weight, dense
from rmt.rebuild import rebuild, singular_vectors


def noise(rows: int, cols: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_svd(weight: Tensor, values: Tensor) -> Tensor:
    u, _, v = torch.linalg.svd(weight, full_matrices=False)
    return (u * values) @ v


@settings(max_examples=40)
@given(
    rows=st.integers(1, 60),
    cols=st.integers(1, 60),
    keep=st.floats(0, 1),
    seed=st.integers(0, 99),
    factorable=st.booleans(),
)
def test_any_subset_of_values_gives_the_matrix_of_the_svd(
    rows: int, cols: int, keep: float, seed: int, factorable: bool
) -> None:
    weight = noise(rows, cols, seed)
    spectrum = rmt.spectrum(weight)
    values = spectrum.singular_values
    chosen = torch.rand(len(values), generator=torch.Generator().manual_seed(seed)) < keep
    wanted = torch.where(chosen, values, 0.0)
    result = rebuild(spectrum, wanted, factorable=factorable)
    rank = int(chosen.sum())
    assert isinstance(result, rmt.Factors) == (factorable and rank * (rows + cols) < rows * cols)
    scale = float(weight.norm())
    assert float((dense(result) - by_svd(weight, wanted)).norm()) < 1e-6 * scale
    # What stays and what goes are orthogonal, and their squares add up.
    kept, removed = dense(result), weight - dense(result)
    assert abs(float((kept * removed).sum())) < 1e-9 * scale**2
    assert float(kept.norm() ** 2 + removed.norm() ** 2) == pytest.approx(scale**2, rel=1e-9)


@settings(max_examples=20)
@given(rows=st.integers(2, 40), cols=st.integers(2, 40), share=st.floats(0.1, 0.9))
def test_values_can_be_changed_as_well_as_removed(rows: int, cols: int, share: float) -> None:
    weight = noise(rows, cols)
    spectrum = rmt.spectrum(weight)
    wanted = spectrum.singular_values * torch.linspace(1, 0, spectrum.smaller, dtype=torch.float64) ** share
    torch.testing.assert_close(dense(rebuild(spectrum, wanted)), by_svd(weight, wanted), rtol=1e-6, atol=1e-7)


@settings(max_examples=20)
@given(rows=st.integers(3, 40), cols=st.integers(3, 40), rank=st.integers(1, 12), keep=st.integers(1, 12))
def test_factors_become_smaller_balanced_factors(rows: int, cols: int, rank: int, keep: int) -> None:
    factors = rmt.Factors(noise(rows, rank, 1), noise(rank, cols, 2))
    spectrum = rmt.spectrum(factors)
    wanted = spectrum.singular_values.clone()
    wanted[keep:] = 0
    result = rebuild(spectrum, wanted)
    assert isinstance(result, rmt.Factors)
    assert result.rank == min(keep, spectrum.nonzero)
    torch.testing.assert_close(
        result.compose(), by_svd(factors.compose(), wanted[: min(rows, cols)]), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(result.left.mT @ result.left, result.right @ result.right.mT, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", ["dense", "factors"])
@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_singular_vectors_are_those_of_the_svd_up_to_sign(form: str, shape: tuple[int, int]) -> None:
    weight: Weight = noise(*shape)
    if form == "factors":
        u, s, v = torch.linalg.svd(noise(*shape), full_matrices=False)
        weight = rmt.Factors(u[:, :20] * s[:20], v[:20])
    positions = torch.tensor([0, 3, 7])
    left, right = singular_vectors(rmt.spectrum(weight), positions)
    u, _, v = torch.linalg.svd(dense(weight), full_matrices=False)
    torch.testing.assert_close(
        (left.mT @ u[:, positions]).abs(), torch.eye(3, dtype=torch.float64), atol=1e-7, rtol=0
    )
    torch.testing.assert_close((v[positions] @ right).abs(), torch.eye(3, dtype=torch.float64), atol=1e-7, rtol=0)
    torch.testing.assert_close(left * (u[:, positions] * left).sum(0), u[:, positions], atol=1e-7, rtol=0)
    sign = (v[positions].mT * right).sum(0)
    torch.testing.assert_close((u[:, positions] * left).sum(0), sign, atol=1e-7, rtol=0)


def test_type_and_device_are_those_of_the_weight() -> None:
    weight = noise(30, 40).bfloat16()
    spectrum = rmt.spectrum(weight)
    for count in (3, 29):
        values = spectrum.singular_values.clone()
        values[count:] = 0
        result = rebuild(spectrum, values)
        parts = result if isinstance(result, rmt.Factors) else (result,)
        assert {part.dtype for part in parts} == {torch.bfloat16}
