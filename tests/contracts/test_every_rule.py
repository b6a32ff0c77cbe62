"""What holds for every pruning rule: registering one puts it under test here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rmt
from rmt import RULES
from rmt.matrices import Weight, dense
from rmt.rebuild import rebuild

every_rule = pytest.mark.parametrize("name", RULES)
# Rules whose line between signal and noise is below every value remove nothing; the others do not ask.
ASK_WHAT_IS_NOISE = {"mp_threshold", "mp_edge", "gavish_donoho", "random_rank", "reverse", "bulk_shrink", "haar"}


def planted(rows: int, cols: int, seed: int = 0) -> Tensor:
    weight = torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weight[range(3), range(3)] += 3 * rmt.detection_limit(rows, cols)
    return weight


def decide(name: str, spectrum: rmt.Spectrum, fit: Any, strength: float, seed: int = 0, **options: Any) -> Tensor:
    entry = RULES[name]
    generator = torch.Generator().manual_seed(seed)
    return entry.function(spectrum, fit, strength, generator, **entry.validate(options))


def apply(spectrum: rmt.Spectrum, decision: Tensor) -> Weight:
    if decision.dtype == torch.bool:
        return torch.where(decision, dense(spectrum.weight), 0.0)
    return rebuild(spectrum, decision)


@every_rule
def test_it_is_documented_and_declared(name: str) -> None:
    entry = RULES[name]
    assert len(entry.summary) > 20
    assert {"idempotent", "random"} <= set(entry.traits)
    assert entry.validate({}) == entry.validate(entry.validate({}))


@every_rule
@settings(max_examples=12)
@given(
    rows=st.integers(50, 70),
    cols=st.integers(50, 90),
    strengths=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 20),
)
def test_a_stronger_cut_removes_what_a_weaker_one_removes(
    name: str, rows: int, cols: int, strengths: tuple[float, float], seed: int
) -> None:
    spectrum = rmt.spectrum(planted(rows, cols, seed))
    before = spectrum.singular_values.clone()
    fit = rmt.fit(spectrum)
    weak, strong = (decide(name, spectrum, fit, strength, seed) for strength in sorted(strengths))
    assert torch.equal(spectrum.singular_values, before)
    if weak.dtype == torch.bool:
        assert weak.shape == (rows, cols)
        assert bool((weak | ~strong).all())
    else:
        assert weak.dtype == torch.float64
        assert weak.shape == (min(rows, cols),)
        assert bool((strong >= 0).all())
        assert bool((strong <= weak + 1e-12).all())
        assert bool((weak <= before + 1e-12).all())


@every_rule
def test_strength_zero_removes_nothing(name: str) -> None:
    spectrum = rmt.spectrum(planted(60, 80))
    decision = decide(name, spectrum, rmt.fit(spectrum), 0.0)
    if decision.dtype == torch.bool:
        assert bool(decision.all())
    else:
        assert torch.equal(decision, spectrum.singular_values)


@pytest.mark.parametrize("name", [name for name in RULES if RULES[name].traits["idempotent"]])
@pytest.mark.parametrize("strength", [0.3, 0.7, 1.0])
def test_it_is_idempotent_if_it_says_so(name: str, strength: float) -> None:
    """Applied to its own result, with the same fit and other random draws, it changes nothing more."""
    spectrum = rmt.spectrum(planted(60, 80))
    fit = rmt.fit(spectrum)
    decision = decide(name, spectrum, fit, strength)
    if not bool(decision.any()):
        return  # nothing is left to remove
    once = apply(spectrum, decision)
    again = rmt.spectrum(once)
    twice = apply(again, decide(name, again, fit, strength, seed=1))
    torch.testing.assert_close(dense(twice), dense(once), rtol=1e-9, atol=1e-9)


@every_rule
def test_only_random_rules_look_at_the_generator(name: str) -> None:
    spectrum = rmt.spectrum(planted(60, 80))
    fit = rmt.fit(spectrum)
    first, same, other = (decide(name, spectrum, fit, 0.5, seed) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert torch.equal(first, other) != RULES[name].traits["random"]


@every_rule
@pytest.mark.parametrize("scale", [1e-3, 50.0])
def test_scale_and_transposition_change_nothing(name: str, scale: float) -> None:
    weight = planted(60, 80)
    spectrum, scaled, turned = rmt.spectrum(weight), rmt.spectrum(scale * weight), rmt.spectrum(weight.mT)
    decision = decide(name, spectrum, rmt.fit(spectrum), 0.6)
    of_scaled = decide(name, scaled, rmt.fit(scaled), 0.6)
    of_turned = decide(name, turned, rmt.fit(turned), 0.6)
    if decision.dtype == torch.bool:
        assert torch.equal(of_scaled, decision)
        if not RULES[name].traits["random"]:
            assert torch.equal(of_turned.mT, decision)
    else:
        torch.testing.assert_close(of_scaled, scale * decision, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(of_turned, decision, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", sorted(ASK_WHAT_IS_NOISE))
def test_where_everything_is_signal_nothing_is_removed(name: str) -> None:
    spectrum = rmt.spectrum(planted(60, 80))
    fit = rmt.fit(spectrum, "given", variance=1e-9)
    assert fit.spikes == 60
    assert torch.equal(decide(name, spectrum, fit, 1.0), spectrum.singular_values)


@every_rule
def test_a_network_never_grows_and_stays_usable(name: str) -> None:
    layers = [
        rmt.Layer("a", "linear", 60, 80),
        rmt.Layer("b", "linear", 64, 64),
        rmt.Layer("c", "linear", 55, 200),
    ]
    pruner = rmt.Pruner(layers, rule=name, aggressiveness=0.9, every=1, epochs=4)
    weights: dict[str, list[Weight]] = {
        layer.name: [planted(layer.rows, layer.cols, r).float() for r in range(2)] for layer in layers
    }
    memories = [rmt.Memory(), rmt.Memory()]
    generators = [torch.Generator().manual_seed(r) for r in range(2)]
    for epoch in pruner.epochs_due:
        cuts = pruner.cut(weights, epoch, memories, generators)
        for column in cuts.values():
            for cut in column:
                now, was = rmt.parameters(cut.weight), rmt.parameters(weights[cut.name][column.index(cut)])
                assert now <= was
                assert bool(torch.isfinite(dense(cut.weight)).all())
                assert cut.rank <= cut.rank_before
                assert cut.status in ("cut", "kept")
                assert (cut.weight is weights[cut.name][column.index(cut)]) == (cut.status == "kept")
                assert (cut.mask is not None) <= (cut.status == "cut")
        weights = {layer: [cut.weight for cut in column] for layer, column in cuts.items()}


@every_rule
def test_budget_is_met_where_the_rule_can(name: str) -> None:
    layers = [rmt.Layer("a", "linear", 60, 80), rmt.Layer("b", "linear", 64, 64)]
    pruner = rmt.Pruner(layers, rule=name, budget=0.5, every=1, epochs=2)
    weights: dict[str, list[Weight]] = {layer.name: [planted(layer.rows, layer.cols).float()] for layer in layers}
    cuts = pruner.cut(weights, 1, [rmt.Memory()], [torch.Generator().manual_seed(0)])
    kept = sum(rmt.parameters(cuts[layer.name][0].weight) for layer in layers)
    if name == "none":
        assert kept == 60 * 80 + 64 * 64
        assert "out of reach" in cuts["a"][0].reason
    else:
        assert kept <= 0.5 * (60 * 80 + 64 * 64)


@every_rule
def test_factors_are_pruned_like_their_product(name: str) -> None:
    weight = planted(60, 80)
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    factors = rmt.Factors(u[:, :30] * s[:30].sqrt(), s[:30].sqrt()[:, None] * v[:30])
    fit = rmt.fit(weight)
    decisions = [decide(name, rmt.spectrum(form), fit, 0.6) for form in (factors, factors.compose())]
    if decisions[0].dtype == torch.bool:
        # A product is exact to rounding only: entries at the very threshold may fall on either side.
        assert int((decisions[0] != decisions[1]).sum()) <= 2
    else:
        torch.testing.assert_close(*decisions, rtol=1e-7, atol=1e-6)


def test_the_fraction_counts_removed_values_so_that_cuts_do_not_compound() -> None:
    spectrum = rmt.spectrum(planted(60, 80))
    fit = rmt.fit(spectrum)
    once = rmt.spectrum(rebuild(spectrum, decide("mp_threshold", spectrum, fit, 0.5)))
    assert once.nonzero == fit.spikes + (60 - fit.spikes) // 2
    assert int(torch.count_nonzero(decide("mp_threshold", once, fit, 0.5))) == once.nonzero


@pytest.mark.parametrize("name", [name for name in RULES if not RULES[name].traits.get("fit", True)])
def test_a_rule_that_says_so_needs_no_fit(name: str) -> None:
    spectrum = rmt.spectrum(planted(60, 80))
    assert torch.equal(decide(name, spectrum, None, 0.5), decide(name, spectrum, rmt.fit(spectrum), 0.5))
