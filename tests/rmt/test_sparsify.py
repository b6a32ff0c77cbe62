from __future__ import annotations

import pytest
import torch
from torch import Tensor

import rmt
from rmt.errors import InvalidOption
from rmt.sparsify import entry_threshold


def planted() -> Tensor:
    weight = torch.randn(60, 80, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight[0, 0] += 60
    return weight


def test_small_entries_go_and_large_ones_stay() -> None:
    weight = planted()
    sparse = rmt.sparsify_entries(weight, 0.5)
    assert bool((sparse[weight.abs() < 0.5] == 0).all())
    assert torch.equal(sparse[weight.abs() >= 0.5], weight[weight.abs() >= 0.5])


def test_entry_threshold_grows_and_stays() -> None:
    assert [entry_threshold(epoch) for epoch in (0, 10, 20, 50)] == pytest.approx([0.001, 0.0105, 0.02, 0.02])


@pytest.mark.parametrize("sparsify", [rmt.sparsify_vectors, rmt.sparsify_vectors_below])
def test_nothing_is_done_at_zero_and_more_at_more(sparsify: object) -> None:
    weight = planted()
    fit = rmt.fit(weight)
    change = [float((sparsify(weight, fit, x) - weight).norm()) for x in (0.0, 0.3, 1.0)]  # type: ignore[operator]
    assert change[0] < 1e-10
    assert change[0] < change[1] < change[2]
    with pytest.raises(InvalidOption, match="must be at least 0"):
        sparsify(weight, fit, -1.0)  # type: ignore[operator]


def test_directions_above_the_threshold_are_left_alone_by_the_random_vector_rule() -> None:
    weight = planted()
    fit = rmt.fit(weight)
    assert fit.spikes == 1
    change = rmt.sparsify_vectors_below(weight, fit, 1.0) - weight
    u, _, v = torch.linalg.svd(weight)
    # What it changes is nearly orthogonal to the spike's two vectors: small next to what it changes elsewhere.
    along = abs(float(u[:, 0] @ change @ v[0]))
    assert along < 0.05 * float(change.norm())


def test_the_floor_of_the_vector_threshold() -> None:
    """Above S₊ the threshold is θ/750; at zero it is θ."""
    weight = (
        torch.diag(torch.tensor([10.0, 1e-6], dtype=torch.float64))
        @ torch.linalg.qr(torch.tensor([[1.0, 1e-3], [-1e-3, 1.0]], dtype=torch.float64)).Q.mT
    )
    fit = rmt.fit(planted(), "given", variance=1e-3)
    kept = rmt.sparsify_vectors(weight, fit, 0.1)
    removed = rmt.sparsify_vectors(weight, fit, 1.0)
    assert float(kept[0, 1].abs()) > 0
    assert float(removed[0, 1].abs()) < float(kept[0, 1].abs())
