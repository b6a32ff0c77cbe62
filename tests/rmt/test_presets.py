from __future__ import annotations

import pytest
import torch
from torch import Tensor

import rmt


def first_fit(horizon: int = 10, **switches: bool) -> tuple[rmt.NoiseFit, rmt.NoiseFit]:
    """First and last fit of a 200 × 200 layer that is cut twice, at half strength and more."""
    weight: list[Tensor | rmt.Factors] = [torch.randn(200, 200, generator=torch.Generator().manual_seed(0))]
    layers = [rmt.Layer("only", "linear", 200, 200)]
    pruner = rmt.Pruner(layers, every=5, epochs=11, **rmt.reference(horizon=horizon, **switches))
    memory, generator, fits = [rmt.Memory()], [torch.Generator()], []
    for epoch in pruner.epochs_due:
        cut = pruner.cut({"only": weight}, epoch, memory, generator)["only"][0]
        fits.append(cut.fit)
        weight = [cut.weight]
    first, last = fits
    assert first is not None
    assert last is not None
    return first, last


def test_each_fault_can_be_switched_off_alone() -> None:
    faulty, _ = first_fit()
    assert first_fit(wrong_width=False)[0].threshold < faulty.threshold
    assert first_fit(wrong_width=False)[0].variance == faulty.variance
    assert first_fit(left_index=False)[0].variance == pytest.approx(faulty.variance / 1.0088, rel=2e-3)
    assert first_fit(wrong_cdf=False)[0].distance != faulty.distance
    assert first_fit(fit_zeros=False)[0] == faulty


def test_refits_with_zeros_turn_noise_into_spikes() -> None:
    # 30 % of the values are left when it refits: SCIENCE 5, B8 has 291 spikes of 307 values for a 1000² layer.
    faulty, right = first_fit(7)[1], first_fit(7, fit_zeros=False)[1]
    assert right.variance == pytest.approx(1, rel=0.05)
    assert right.spikes == 0
    assert faulty.variance < 0.5
    assert faulty.spikes > 50


def test_reference_cuts_heads_and_small_layers() -> None:
    layers = [rmt.Layer("head", "linear", 10, 200, head=True)]
    pruner = rmt.Pruner(layers, every=13, epochs=40, **rmt.reference(horizon=300))
    assert pruner.epochs_due == (13, 26, 39)
    assert pruner.strength(13) == pytest.approx(13 / 300)
    weight = torch.randn(10, 200, generator=torch.Generator().manual_seed(0))
    cut = pruner.cut({"head": [weight]}, 13, [rmt.Memory()], [torch.Generator()])["head"][0]
    # The published runs show it: a head of 10 goes to rank 9 at the first cut, for nothing.
    assert (cut.status, cut.rank) == ("cut", 9)
