"""What is no noise at the bottom of a spectrum: values that truncation removed, and dead rows and columns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rmt
from rmt.errors import DegenerateSpectrum
from rmt.rules import RULES
from rmt.rules.vectors import randomness


def noise(rows: int, cols: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spiked(side: int, strength: float, seed: int = 0) -> torch.Tensor:
    """Noise of largest singular value 2 with one spike in a random direction."""
    left, right = noise(side, 1, seed + 1), noise(1, side, seed + 2)
    return noise(side, side, seed) / side**0.5 + strength * (left / left.norm()) @ (right / right.norm())


def with_dead(rows: int, cols: int, dead_rows: int, dead_cols: int = 0, seed: int = 0) -> torch.Tensor:
    weight = noise(rows, cols, seed)
    order = torch.Generator().manual_seed(seed + 7)
    weight[torch.randperm(rows, generator=order)[:dead_rows]] = 0
    weight[:, torch.randperm(cols, generator=order)[:dead_cols]] = 0
    return weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("strength", [5.0, 30.0, 100.0, 300.0])
def test_a_bulk_beside_a_large_spike_is_whole_in_every_type(strength: float, dtype: torch.dtype) -> None:
    weight = spiked(256, strength).to(dtype)
    assert rmt.spectrum(weight).nonzero == 256
    fit = rmt.fit(weight)
    assert (fit.zeros, fit.spikes) == (0, 1)
    assert fit.variance * 256 == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_layers_as_torch_makes_them_have_full_rank(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ranks = [rmt.spectrum(torch.nn.Linear(256, rows).to(dtype)).nonzero for rows in (60, 200, 256, 400)]
    assert ranks == [60, 200, 256, 256]


@settings(max_examples=12)
@given(
    rows=st.integers(60, 120),
    cols=st.integers(60, 120),
    share=st.floats(0.05, 0.9),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16]),
    strength=st.sampled_from([0.0, 3.0, 20.0]),
    seed=st.integers(0, 99),
)
def test_what_truncation_removed_is_counted_in_every_type(
    rows: int, cols: int, share: float, dtype: torch.dtype, strength: float, seed: int
) -> None:
    weight = noise(rows, cols, seed)
    weight[0, 0] += strength * rmt.detection_limit(rows, cols)
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    kept = max(2, int(share * len(s)))
    removed = rmt.spectrum(((u[:, :kept] * s[:kept]) @ v[:kept]).to(dtype))
    assert removed.nonzero == kept
    assert rmt.spectrum(weight.to(dtype)).nonzero >= len(s) - 1


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
def test_dead_rows_leave_the_law_of_the_others(share: float) -> None:
    dead = int(share * 200)
    weight = with_dead(200, 400, dead)
    alive = weight[weight.abs().sum(1) > 0]
    fit, alone = rmt.fit(weight), rmt.fit(alive)
    assert fit.variance == pytest.approx(1, rel=0.03)
    assert (fit.spikes, fit.zeros) == (0, 0)
    assert (fit.rows, fit.cols, fit.live_rows, fit.live_cols) == (200, 400, 200 - dead, 400)
    assert fit.singular_threshold == pytest.approx(alone.singular_threshold, rel=1e-9)
    assert fit.singular_edge == pytest.approx(alone.singular_edge, rel=1e-9)
    assert fit.distance == pytest.approx(alone.distance, abs=1e-9)
    assert fit.distance_null_quantile == alone.distance_null_quantile


@settings(max_examples=15)
@given(
    dead_rows=st.integers(0, 60),
    dead_cols=st.integers(0, 90),
    noise_kind=st.sampled_from(["bema", "bema_two_pass", "median", "given"]),
    seed=st.integers(0, 20),
)
def test_a_fit_does_not_see_rows_and_columns_of_zeros(
    dead_rows: int, dead_cols: int, noise_kind: str, seed: int
) -> None:
    weight = with_dead(90, 110, dead_rows, dead_cols, seed)
    weight[weight != 0] += 0.3  # a spike
    alive = weight[weight.abs().sum(1) > 0][:, weight.abs().sum(0) > 0]
    fit, alone, turned = (rmt.fit(each, noise_kind) for each in (weight, alive, weight.mT))
    for each in (fit, turned):
        assert each.variance == pytest.approx(alone.variance, rel=1e-9)
        assert each.singular_threshold == pytest.approx(alone.singular_threshold, rel=1e-9)
        assert (each.spikes, each.zeros) == (alone.spikes, alone.zeros)
    assert fit.bulk == 90 - fit.spikes


def test_rows_that_decayed_to_next_to_nothing_are_dead_too() -> None:
    weight = with_dead(200, 400, 60)
    weight = torch.where(weight == 0, 1e-7 * noise(200, 400, 9), weight)
    fit = rmt.fit(weight.float())
    assert (fit.live_rows, fit.live_cols, fit.spikes) == (140, 400, 0)
    assert fit.variance == pytest.approx(1, rel=0.03)


def test_removed_values_of_a_layer_with_dead_rows_are_told_apart() -> None:
    u, s, v = torch.linalg.svd(with_dead(200, 400, 60), full_matrices=False)
    truncated = ((u[:, :70] * s[:70]) @ v[:70]).float()
    for weight in (truncated, rmt.Factors((u[:, :70] * s[:70]).float(), v[:70].float())):
        fit = rmt.fit(weight)
        assert (fit.live_rows, fit.zeros) == (140, 70)
        assert fit.variance == pytest.approx(1, rel=0.05)
        assert fit.spikes == 0


def test_the_public_fit_counts_dead_rows_as_values() -> None:
    public = rmt.fit(with_dead(200, 400, 60), "bema", censored=False)
    assert (public.live_rows, public.zeros) == (200, 0)
    assert public.variance < 0.9


def test_too_little_alive_is_a_named_error() -> None:
    with pytest.raises(DegenerateSpectrum, match="of 2 values"):
        rmt.fit(with_dead(60, 80, 58))
    with pytest.raises(DegenerateSpectrum, match="there is no noise"):
        rmt.fit(with_dead(60, 80, 58), "bema", censored=False)


LOOK_AT_VALUES = sorted(
    set(RULES) - {"random_rank", "random_mask", "magnitude", "alpha_budget", "universal_threshold"}
)


@pytest.mark.parametrize("name", LOOK_AT_VALUES)
def test_rules_decide_for_the_live_part_as_if_it_were_alone(name: str) -> None:
    weight = with_dead(120, 150, 30, 20)
    weight[weight != 0] += 0.4
    alive = weight[weight.abs().sum(1) > 0][:, weight.abs().sum(0) > 0]
    whole, part = rmt.spectrum(weight), rmt.spectrum(alive)
    entry, generator = RULES[name], torch.Generator()
    options = {"noise_level": "median"} if name == "gavish_donoho" else {}
    # At full strength: below it, a share of the whole matrix's values stays.
    decisions = [
        entry.function(values, rmt.fit(values), 1.0, generator, **entry.validate(options))
        for values in (whole, part)
    ]
    torch.testing.assert_close(decisions[0][:90], decisions[1], rtol=1e-9, atol=1e-9)
    assert float(decisions[0][90:].abs().max()) < 1e-5  # rounding of zeros


def test_random_looking_directions_are_those_of_the_live_part() -> None:
    dead = randomness(rmt.spectrum(with_dead(200, 400, 80)))
    assert float((dead[:120] > 0.05).double().mean()) > 0.8


def test_a_pruner_cuts_a_layer_whose_units_died() -> None:
    layers = [rmt.Layer("only", "linear", 200, 400)]
    tool = rmt.Pruner(layers, rule="mp_threshold", aggressiveness=1.0, every=1, epochs=4)
    memory, generator = [rmt.Memory()], [torch.Generator()]
    weight = with_dead(200, 400, 100, seed=3)
    weight[weight != 0] += 0.4
    # ⌊f (p − K₊)⌋ + K₊ of p = 200: the 100 values that vanished with the units count as removed.
    for epoch, rank in ((1, 100), (2, 67), (3, 1)):
        cut = tool.cut({"only": [weight]}, epoch, memory, generator)["only"][0]
        assert cut.fit is not None
        assert (cut.fit.spikes, cut.fit.live_rows) == (1, 100)
        assert cut.rank == rank
        weight = rmt.matrices.dense(cut.weight)
