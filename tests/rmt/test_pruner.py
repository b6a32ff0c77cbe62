from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rmt
from rmt.errors import InvalidOption, InvalidWeight, UnknownName
from rmt.matrices import Weight, dense

LAYERS = [
    rmt.Layer("first", "linear", 64, 100),
    rmt.Layer("second", "linear", 64, 64),
    rmt.Layer("last", "linear", 10, 64, head=True),
]


def network(seed: int = 0) -> dict[str, torch.Tensor]:
    """Noise with `seed` + 1 spikes in the first layer."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        layer.name: torch.randn(layer.rows, layer.cols, generator=generator) / layer.cols**0.5 for layer in LAYERS
    }
    for i in range(seed + 1):
        weights["first"][i, i] += 4.0
    return weights


def pruner(**options: object) -> rmt.Pruner:
    wishes = {"rule": "mp_threshold", "every": 2, "epochs": 9, **options}
    return rmt.Pruner(LAYERS, **wishes)  # type: ignore[arg-type]


def run(
    tool: rmt.Pruner, replicates: list[dict[str, torch.Tensor]], epochs: tuple[int, ...] | None = None
) -> list[dict[str, list[rmt.Cut]]]:
    memories = [rmt.Memory() for _ in replicates]
    generators = [torch.Generator().manual_seed(100 + r) for r in range(len(replicates))]
    weights: dict[str, list[Weight]] = {
        layer.name: [network[layer.name] for network in replicates] for layer in LAYERS
    }
    history = []
    for epoch in tool.epochs_due if epochs is None else epochs:
        cuts = tool.cut(weights, epoch, memories, generators)
        weights = {name: [cut.weight for cut in column] for name, column in cuts.items()}
        history.append(cuts)
    return history


def kept(cuts: dict[str, list[rmt.Cut]], r: int) -> int:
    return sum(rmt.parameters(column[r].weight) for column in cuts.values())


def test_cuts_are_due_strictly_before_the_last_epoch() -> None:
    assert pruner(every=4, epochs=20).epochs_due == (4, 8, 12, 16)
    assert pruner(every=5, epochs=5).epochs_due == ()


def test_strength_ramps_up_to_the_aggressiveness() -> None:
    tool = pruner(aggressiveness=0.8)
    assert [tool.strength(epoch) for epoch in tool.epochs_due] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    horizon = pruner(options={"horizon": 4})
    assert [horizon.strength(epoch) for epoch in (0, 1, 2, 4, 8)] == [0, 0.25, 0.5, 1, 1]


def test_ranks_follow_the_schedule_and_differ_between_replicates() -> None:
    tool = pruner(aggressiveness=0.9)
    for epoch, cuts in zip(tool.epochs_due, run(tool, [network(r) for r in range(3)]), strict=True):
        for r, cut in enumerate(cuts["first"]):
            assert cut.status == "cut"
            assert cut.fit is not None
            assert cut.fit.spikes >= r + 1
            # ⌊f (p − K₊)⌋ + K₊, values removed earlier included in p.
            kept_below = math.floor((1 - tool.strength(epoch)) * (64 - cut.fit.spikes) + 1e-9)
            assert cut.rank == kept_below + cut.fit.spikes


def test_factors_appear_exactly_when_they_are_smaller_and_are_balanced() -> None:
    seen = set()
    for cuts in run(pruner(aggressiveness=0.9), [network()]):
        for name in ("first", "second"):
            cut, layer = cuts[name][0], next(layer for layer in LAYERS if layer.name == name)
            factored = isinstance(cut.weight, rmt.Factors)
            seen.add(factored)
            assert factored == (cut.rank * (layer.rows + layer.cols) < layer.rows * layer.cols)
            if isinstance(cut.weight, rmt.Factors):
                left, right = cut.weight
                assert left.shape == (layer.rows, cut.rank)
                assert right.shape == (cut.rank, layer.cols)
                torch.testing.assert_close(left.mT @ left, right @ right.mT, rtol=1e-4, atol=1e-5)
    assert seen == {True, False}


def test_what_is_cut_away_is_orthogonal_to_what_stays() -> None:
    before = network()["first"].double()
    first, *_ = run(pruner(aggressiveness=1.0, every=4, epochs=8), [{**network(), "first": before}])
    stays = dense(first["first"][0].weight)
    removed = before - stays
    assert abs(float((stays * removed).sum())) < 1e-11
    assert float(stays.norm()) ** 2 + float(removed.norm()) ** 2 == pytest.approx(float(before.norm()) ** 2)


def test_heads_small_and_foreign_layers_are_left_with_a_reason() -> None:
    cuts = run(pruner(aggressiveness=1.0, gate={"min_size": 65}), [network()])[0]
    assert {name: column[0].status for name, column in cuts.items()} == dict.fromkeys(cuts, "skipped")
    assert "skip_heads" in cuts["last"][0].reason
    assert "smaller side is 64, below 65 (min_size)" in cuts["first"][0].reason
    assert cuts["last"][0].rank == cuts["last"][0].rank_before == 10


def test_a_layer_that_fits_badly_is_left_alone() -> None:
    uneven = network()
    uneven["second"] *= torch.exp(torch.linspace(-2, 2, 64))[:, None]
    for gate in ({"max_distance": 0.05}, {"max_distance": 2, "unit": "null_quantile"}):
        cuts = run(pruner(gate=gate), [uneven])[0]
        assert cuts["second"][0].status == "skipped"
        assert "max_distance" in cuts["second"][0].reason
        assert cuts["second"][0].fit is not None
        assert cuts["first"][0].status == "cut"
    assert run(pruner(gate={"max_distance": False}), [uneven])[0]["second"][0].status == "cut"


def test_none_removes_nothing_and_returns_the_very_weight() -> None:
    weights = network()
    cuts = run(pruner(rule="none"), [weights])[-1]
    for name in ("first", "second"):
        assert cuts[name][0].status == "kept"
        assert cuts[name][0].weight is weights[name]


def test_aggressiveness_zero_removes_nothing() -> None:
    assert {column[0].status for column in run(pruner(aggressiveness=0.0), [network()])[-1].values()} == {
        "kept",
        "skipped",
    }


SQUARE = [rmt.Layer("only", "linear", 200, 200, factorable=False)]


def square(spikes: int, seed: int) -> torch.Tensor:
    weight = torch.randn(200, 200, generator=torch.Generator().manual_seed(seed)) / 200**0.5
    weight[range(spikes), range(spikes)] += 5.0
    return weight


def cut_in_turn(weights: list[torch.Tensor], epochs: tuple[int, ...], **options: object) -> list[rmt.Cut]:
    """Cuts of one layer that is another matrix each time, as training makes it."""
    tool = rmt.Pruner(SQUARE, **{"every": 1, "epochs": 10, **options})  # type: ignore[arg-type]
    memory, generator = [rmt.Memory()], [torch.Generator().manual_seed(0)]
    return [
        tool.cut({"only": [weight]}, epoch, memory, generator)["only"][0]
        for weight, epoch in zip(weights, epochs, strict=True)
    ]


@pytest.mark.parametrize("refit", ["censored", "first_fit"])
@pytest.mark.parametrize("rule", ["mp_threshold", "mp_edge", "gavish_donoho", "random_rank", "reverse", "haar"])
def test_strength_zero_removes_nothing_when_spikes_have_come_or_gone(rule: str, refit: str) -> None:
    for counts in ((40, 5), (5, 40)):
        weights = [square(count, seed) for seed, count in enumerate(counts)]
        for cut in cut_in_turn(weights, (1, 2), rule=rule, aggressiveness=0.0, refit=refit):
            assert (cut.status, cut.rank) == ("kept", 200)


@pytest.mark.parametrize("rule", ["mp_threshold", "random_rank"])
def test_the_kept_rank_is_that_of_the_fit_in_use(rule: str) -> None:
    last = cut_in_turn([square(2, 0), square(34, 1)], (1, 2), rule=rule, aggressiveness=0.5, schedule="constant")[
        1
    ]
    assert last.fit is not None
    assert last.fit.spikes == 34
    assert last.rank == (200 - 34) // 2 + 34
    assert last.fit.bulk == 166


@pytest.mark.parametrize("rule", ["rank", "energy", "magnitude", "random_mask", "alpha_budget", "none"])
def test_a_rule_without_a_line_needs_no_law(rule: str) -> None:
    low = torch.zeros(200, 200)
    low[:2, :2] = torch.tensor([[3.0, 1.0], [0.5, 2.0]])
    (cut,) = cut_in_turn([low], (1,), rule=rule, aggressiveness=0.99, schedule="constant")
    assert cut.status != "skipped"
    assert cut.fit is None
    (gated,) = cut_in_turn([low], (1,), rule=rule, gate={"max_distance": 0.5})
    assert gated.status == "skipped"
    (asking,) = cut_in_turn([low], (1,), rule="mp_threshold")
    assert "are left to fit a law to" in asking.reason


def test_a_schedule_is_a_function_of_the_epoch_for_every_rule() -> None:
    def fraction(epoch: int) -> float:
        return max(0.0, 1 - epoch / 4)

    for rule in ("mp_threshold", "mp_edge", "gavish_donoho", "random_rank", "reverse"):
        weights = [square(3, seed) for seed in range(3)]
        ours = cut_in_turn(weights, (1, 2, 4), rule=rule, schedule=fraction)
        horizon = cut_in_turn(weights, (1, 2, 4), rule=rule, options={"horizon": 4})
        assert [cut.rank for cut in ours] == [cut.rank for cut in horizon]
    shrunk = cut_in_turn([square(0, 0)], (2,), rule="bulk_shrink", schedule=fraction)[0]
    assert float(dense(shrunk.weight).norm()) == pytest.approx(0.5 * float(square(0, 0).norm()), rel=1e-5)
    assert [pruner(aggressiveness=0.5, schedule=fraction).strength(epoch) for epoch in (2, 8)] == [0.25, 0.5]


def test_a_budget_follows_the_schedule() -> None:
    total = sum(layer.rows * layer.cols for layer in LAYERS)
    first = run(pruner(budget=0.5, schedule="constant"), [network()], (2,))[0]
    assert kept(first, 0) <= 0.5 * total
    none = run(pruner(budget=0.5, schedule=lambda epoch: 1.0), [network()], (2,))[0]
    assert kept(none, 0) == total


def test_a_poisoned_replicate_leaves_the_others_bit_equal() -> None:
    clean = run(pruner(aggressiveness=0.9), [network(r) for r in range(3)])
    sick = [network(r) for r in range(3)]
    sick[1]["first"][3, 4] = math.nan
    sick[1]["second"][0, 0] = math.inf
    poisoned = run(pruner(aggressiveness=0.9), sick)
    for before, after in zip(clean, poisoned, strict=True):
        for name in before:
            for r in (0, 2):
                assert before[name][r].reason == after[name][r].reason
                assert torch.equal(dense(before[name][r].weight), dense(after[name][r].weight))
        assert after["first"][1].status == "skipped"
        assert after["first"][1].reason == "its weight has 1 NaN or infinite entries, the first at (3, 4)"
        assert after["first"][1].fit is None
        assert bool(after["first"][1].spectrum_before.isnan().all())


def test_a_replicate_is_cut_as_if_it_were_alone() -> None:
    networks = [network(r) for r in range(3)]
    together = run(pruner(aggressiveness=0.7), networks)
    tool, memory, generator = pruner(aggressiveness=0.7), rmt.Memory(), torch.Generator().manual_seed(102)
    weights: dict[str, list[Weight]] = {layer.name: [networks[2][layer.name]] for layer in LAYERS}
    for epoch, expected in zip(tool.epochs_due, together, strict=True):
        cuts = tool.cut(weights, epoch, [memory], [generator])
        for name in cuts:
            torch.testing.assert_close(dense(cuts[name][0].weight), dense(expected[name][2].weight))
            assert cuts[name][0].rank == expected[name][2].rank
        weights = {name: [column[0].weight] for name, column in cuts.items()}


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_budget_is_met_by_every_replicate(share: float) -> None:
    total = sum(layer.rows * layer.cols for layer in LAYERS) + 138
    cuts = run(pruner(budget=share, total_parameters=total), [network(r) for r in range(3)])[-1]
    for r in range(3):
        assert kept(cuts, r) + 138 <= share * total
        assert (
            kept(cuts, r) + 138 > (share - 0.04) * total
        )  # one singular value more of both layers would be too many


def test_budget_out_of_reach_says_so() -> None:
    cuts = run(pruner(budget=0.01), [network()])[-1]
    assert "the budget of" in cuts["first"][0].reason
    assert "out of reach" in cuts["first"][0].reason


def test_overrides_match_names_and_kinds() -> None:
    tool = pruner(
        aggressiveness=0.5,
        overrides=[{"match": "lin*", "aggressiveness": 1.0, "min_rank": 7}, {"match": "second", "rule": "none"}],
    )
    last = run(tool, [network()])[-1]
    assert last["first"][0].rank == 7
    assert last["second"][0].status == "kept"


def test_first_fit_keeps_the_threshold() -> None:
    weights = network()
    tool = pruner(aggressiveness=0.5, refit="first_fit")
    first, *_, last = run(tool, [weights])
    assert first["first"][0].fit is not None
    assert last["first"][0].fit is not None
    assert last["first"][0].fit.threshold == first["first"][0].fit.threshold
    assert last["first"][0].fit.zeros == 64 - last["first"][0].rank_before


def test_cuts_after_the_bulk_is_gone_leave_the_spikes() -> None:
    tool = pruner(options={"horizon": 2}, gate={"min_size": 60})
    history = run(tool, [network(r) for r in range(3)])
    for cuts in history:
        assert [cut.rank for cut in cuts["first"]] == [1, 2, 3]
    assert "with the first fit's threshold" in history[-1]["first"][0].reason


def test_a_layer_of_zeros_is_skipped() -> None:
    weights = {**network(), "first": torch.zeros(64, 100)}
    cut = run(pruner(), [weights])[0]["first"][0]
    assert (cut.status, cut.rank) == ("skipped", 0)
    assert cut.reason == "all 64 values of a 64 × 100 matrix are 0"


def test_memory_survives_json() -> None:
    memory = rmt.Memory()
    weights = network()
    pruner().cut(
        {name: [weight] for name, weight in weights.items()}, 2, [memory], [torch.Generator().manual_seed(0)]
    )
    assert set(memory.first_fits) == {"first", "second"}
    assert rmt.Memory.from_dict(json.loads(json.dumps(memory.to_dict()))) == memory


@settings(max_examples=15)
@given(aggressiveness=st.floats(0, 1), seed=st.integers(0, 20))
def test_parameters_never_grow(aggressiveness: float, seed: int) -> None:
    before = sum(weight.numel() for weight in network(seed % 3).values())
    for cuts in run(pruner(aggressiveness=aggressiveness), [network(seed % 3)]):
        after = kept(cuts, 0)
        assert after <= before
        before = after


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"aggressiveness": 1.5}, r"aggressiveness is 1.5; it must lie in \[0, 1\]"),
        ({"budget": 0.0}, r"budget is 0.0; it must lie in \(0, 1\]"),
        ({"refit": "never"}, "refit is 'never'; known: censored, first_fit"),
        ({"every": 0}, "every is 0; it must be at least 1"),
        ({"schedule": "cubic"}, "schedule is 'cubic'; known: linear, constant, or a function of the epoch"),
        ({"schedule": lambda epoch: epoch / 4}, r"schedule gives 1.5 at epoch 6; .* must lie in \[0, 1\]"),
        ({"schedule": lambda epoch: math.nan}, "schedule gives nan at epoch 2"),
        ({"min_rank": 0}, "min_rank is 0; it must be at least 1"),
        (
            {"options": {"keep_fraction": 2}},
            "rule mp_threshold: keep_fraction is 2.*its options: keep_fraction, horizon",
        ),
        ({"noise": {"kind": "bema", "alpha": 0.7}}, "noise bema: alpha is 0.7"),
        ({"gate": {"max_distance": -1}}, "gate: max_distance"),
        ({"overrides": [{"rule": "none"}]}, "it needs `match`"),
        ({"overrides": [{"match": "*", "strength": 1}]}, "may have: match, rule, aggressiveness"),
    ],
)
def test_impossible_wishes_are_refused(wishes: dict, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        pruner(**wishes)


def test_unknown_rule_lists_the_known() -> None:
    with pytest.raises(UnknownName, match=r"unknown pruning rule 'discard_blk'; known: .*mp_threshold"):
        pruner(rule="discard_blk")


def test_weights_that_do_not_belong_are_refused() -> None:
    memory, generator = [rmt.Memory()], [torch.Generator()]
    with pytest.raises(InvalidWeight, match=r"first has shape \(3, 3\), not \(64, 100\)"):
        pruner().cut({"first": [torch.zeros(3, 3)]}, 2, memory, generator)
    with pytest.raises(InvalidOption, match="'third' is no layer of this pruner; known: first, second, last"):
        pruner().cut({"third": [torch.zeros(3, 3)]}, 2, memory, generator)
    with pytest.raises(InvalidWeight, match="must have 1 replicates"):
        pruner().cut({"first": [network()["first"]] * 2}, 2, memory, generator)
