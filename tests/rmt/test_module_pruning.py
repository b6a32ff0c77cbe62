from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

import rmt
from rmt.errors import InvalidOption
from rmt.matrices import dense
from rmt.module_pruning import count_parameters


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def weight_of(module: nn.Module, name: str) -> Tensor:
    return module.get_submodule(name).get_parameter("weight")


class Everything(nn.Module):
    """One layer of every kind that has a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(80, 60)
        self.attention = nn.MultiheadAttention(60, 2, batch_first=True)
        self.mixed = nn.MultiheadAttention(60, 2, kdim=50, vdim=54, batch_first=True)
        self.line = nn.Conv1d(60, 64, 3, padding=1)
        self.grouped = nn.Conv1d(64, 120, 3, groups=2, padding=1)
        self.head = nn.Linear(120, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = x + self.mixed(x, x[..., :50], x[..., :54], need_weights=False)[0]
        return self.head(self.grouped(self.line(x.mT)).mean(-1))


def test_every_kind_of_layer_has_its_matrices() -> None:
    module = Everything()
    found = {layer.name: (layer.kind, layer.rows, layer.cols) for layer in rmt.layers_of(module)}
    assert found == {
        "words": ("embedding", 80, 60),
        "attention[q]": ("projection", 60, 60),
        "attention[k]": ("projection", 60, 60),
        "attention[v]": ("projection", 60, 60),
        "attention.out_proj": ("linear", 60, 60),
        "mixed[q]": ("projection", 60, 60),
        "mixed[k]": ("projection", 60, 50),
        "mixed[v]": ("projection", 60, 54),
        "mixed.out_proj": ("linear", 60, 60),
        "line": ("conv1d", 64, 180),
        "grouped[0]": ("conv1d", 60, 96),
        "grouped[1]": ("conv1d", 60, 96),
        "head": ("linear", 10, 120),
    }
    assert [layer.name for layer in rmt.layers_of(module) if layer.head] == ["head"]
    for name, matrix in rmt.matrices_of(module).items():
        values = rmt.spectrum(matrix).singular_values
        (
            torch.testing.assert_close(values, torch.linalg.svdvals(dense(matrix).double()), rtol=1e-6, atol=1e-6),
            name,
        )


def test_every_kind_of_layer_is_written_back() -> None:
    module, tokens = Everything().eval(), torch.arange(40).reshape(4, 10)
    before = {name: dense(matrix).detach().clone() for name, matrix in rmt.matrices_of(module).items()}
    report = rmt.prune(module, aggressiveness=0.5)
    assert {cut.name for cut in report.changed} == set(before) - {"head"}
    for cut in report.changed:
        after = dense(rmt.matrices_of(module)[cut.name])
        u, s, v = torch.linalg.svd(before[cut.name].double(), full_matrices=False)
        expected = (u[:, : cut.rank] * s[: cut.rank]) @ v[: cut.rank]
        torch.testing.assert_close(after.double(), expected, rtol=1e-4, atol=1e-5)
    assert module(tokens).shape == (4, 10)


def test_memory_format_does_not_matter() -> None:
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(64, 64, 3, groups=1)).to(memory_format=torch.channels_last)
    report = rmt.prune(convolution, aggressiveness=0.2, heads=[])
    assert report.cuts[0].status == "cut"
    assert rmt.spectrum(rmt.matrices_of(convolution)["0"]).nonzero == report.cuts[0].rank


def test_step_follows_the_schedule_and_prunes_factored_layers_again() -> None:
    module, x = network(), noise(5, 100)
    pruner = rmt.Pruner(rmt.layers_of(module), rule="mp_threshold", aggressiveness=0.9, every=2, epochs=7)
    ranks = []
    for epoch in range(1, 8):
        report = pruner.step(module, epoch)
        assert (report is not None) == (epoch in (2, 4, 6))
        if report is not None:
            ranks.append([cut.rank for cut in report.cuts])
            assert report.parameters_after == count_parameters(module)
            assert report.parameters_after <= report.parameters_before
    assert ranks == sorted(ranks, reverse=True)
    assert isinstance(module[0], rmt.LowRankLinear)
    assert module[0].factors.rank == ranks[-1][0]
    assert isinstance(module[4], nn.Linear)
    assert module(x).shape == (5, 10)
    assert pruner.step(module, 7, force=True) is not None


def test_keeping_everything_gives_the_same_function() -> None:
    module, x = network(), noise(5, 100)
    before = module(x)
    report = rmt.prune(module, rule="none")
    assert torch.equal(module(x), before)
    assert report.parameters_after == report.parameters_before == sum(p.numel() for p in module.parameters())


def test_a_module_with_nothing_to_prune_says_why() -> None:
    report = rmt.prune(nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 3)))
    assert report.changed == ()
    assert "smaller side" in report.cuts[0].reason or "head" in report.cuts[0].reason
    assert list(report.without_matrix) == ["0"]
    assert "LayerNorm" in report.without_matrix["0"]
    assert len(report.to_frame()) == len(report.rows()) == 2
    assert rmt.prune(nn.ReLU()).rows() == []


def test_groups_skipped_for_one_reason_share_a_row_of_the_report() -> None:
    report = rmt.prune(nn.Sequential(nn.Conv2d(64, 64, 3, groups=64), nn.Conv2d(100, 200, 3, groups=2)), heads=[])
    assert len(report.cuts) == 66
    rows = {row["layer"]: row for row in report.rows()}
    assert list(rows) == ["0", "1[0]", "1[1]"]
    assert rows["0"]["reason"].startswith("64 groups, of each ")
    assert rows["1[0]"]["spikes"] >= 0


def test_tied_and_root_weights_are_not_factored() -> None:
    tied = nn.Sequential(
        nn.Linear(64, 64, bias=False), nn.ReLU(), nn.Linear(64, 64, bias=False), nn.Linear(64, 10)
    )
    tied[2].register_parameter("weight", tied[0].get_parameter("weight"))
    rmt.prune(tied, aggressiveness=1.0)
    assert tied[0].weight is tied[2].weight
    root = nn.Linear(64, 64)
    report = rmt.prune(root, aggressiveness=1.0, heads=[])
    assert report.cuts[0].status == "cut"
    assert isinstance(report.cuts[0].weight, Tensor)


def test_parametrised_weights_are_left_alone() -> None:
    module = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(64, 64)), nn.Linear(64, 10))
    assert [layer.name for layer in rmt.layers_of(module)] == ["1"]


def test_nan_is_counted_and_the_rest_is_pruned() -> None:
    module = network()
    with torch.no_grad():
        weight_of(module, "0")[1, 2] = math.nan
    report = rmt.prune(module)
    assert report.cuts[0].reason == "its weight has 1 NaN or infinite entries, the first at (1, 2)"
    assert report.cuts[1].status == "cut"


def test_masks_can_be_kept_through_training() -> None:
    module = network()
    report = rmt.prune(module, rule="magnitude", aggressiveness=0.7)
    assert set(report.masks) == {"0", "2"}
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    module(noise(5, 100)).square().sum().backward()
    optimiser.step()
    assert count_parameters(module) > report.parameters_after
    report.apply_masks(module)
    assert count_parameters(module) <= report.parameters_after


@pytest.mark.parametrize("budget", [0.6, 0.35])
def test_budget_counts_the_whole_module(budget: float) -> None:
    module = network()
    total = sum(parameter.numel() for parameter in module.parameters())
    report = rmt.prune(module, budget=budget)
    assert report.parameters_after <= budget * total
    assert sum(parameter.numel() for parameter in module.parameters()) == report.parameters_after


def test_a_layer_whose_cut_hurts_is_taken_back() -> None:
    module, x = network(), noise(5, 100)
    before = module(x)
    pruner = rmt.Pruner(rmt.layers_of(module), rule="mp_threshold", every=1, epochs=2)
    first = weight_of(module, "0").detach().clone()

    def validate(now: nn.Module) -> float:
        # Only the first layer matters to this judge.
        part = now.get_submodule("0")
        return 0.9 if isinstance(part, nn.Linear) and torch.equal(part.weight, first) else 0.7

    report = pruner.step(module, 1, validate=validate, max_drop=0.1)
    assert report is not None
    assert [cut.status for cut in report.cuts] == ["kept", "cut", "skipped"]
    assert report.cuts[0].reason == "taken back: validation fell to 0.7, below 0.8 (max_drop)"
    assert torch.equal(weight_of(module, "0"), first)
    assert report.cuts[0].rank == report.cuts[0].rank_before
    always = rmt.Pruner(rmt.layers_of(network()), rule="mp_threshold", every=1, epochs=2)
    untouched = network()
    always.step(untouched, 1, validate=lambda now: float(torch.equal(now(x), before)), max_drop=0.0)
    assert torch.equal(untouched(x), before)


def test_taking_back_one_group_leaves_the_other_cut() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv1d(64, 120, 3, groups=2))
    whole = weight_of(module, "0").detach().clone()
    pruner = rmt.Pruner(rmt.layers_of(module, heads=[]), rule="mp_threshold", every=1, epochs=2)
    judge: list[float] = []

    def validate(now: nn.Module) -> float:
        judge.append(float(torch.equal(weight_of(module, "0")[60:], whole[60:])))
        return judge[-1]

    report = pruner.step(module, 1, validate=validate, max_drop=0.5)
    assert report is not None
    assert [cut.status for cut in report.cuts] == ["cut", "kept"]
    assert not torch.equal(weight_of(module, "0")[:60], whole[:60])
    assert torch.equal(weight_of(module, "0")[60:], whole[60:])


def test_a_cut_after_which_validation_gives_nan_is_taken_back() -> None:
    module = network()
    first = weight_of(module, "0").detach().clone()
    pruner = rmt.Pruner(rmt.layers_of(module), rule="mp_threshold", every=1, epochs=2)

    def validate(now: nn.Module) -> float:
        part = now.get_submodule("0")
        return 0.9 if isinstance(part, nn.Linear) and torch.equal(part.weight, first) else math.nan

    report = pruner.step(module, 1, validate=validate, max_drop=0.1)
    assert report is not None
    assert report.cuts[0].status == "kept"
    assert report.cuts[0].reason == "taken back: validation fell to nan, below 0.8 (max_drop)"
    assert torch.equal(weight_of(module, "0"), first)
    with pytest.raises(InvalidOption, match="gives NaN for the module as it is"):
        pruner.step(module, 1, validate=lambda now: math.nan, max_drop=0.1)


@pytest.mark.parametrize("half", [{"validate": lambda module: 0.0}, {"max_drop": 0.1}])
def test_validation_needs_both_its_parts(half: dict[str, Any]) -> None:
    module = network()
    pruner = rmt.Pruner(rmt.layers_of(module), rule="none", every=1, epochs=2)
    with pytest.raises(InvalidOption, match="belong together"):
        pruner.step(module, 1, **half)


@pytest.mark.slow
def test_a_torchvision_model_in_one_line() -> None:
    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None, num_classes=20).eval()
    report = rmt.prune(module, aggressiveness=0.9, overrides=[{"match": "layer[34]*", "rule": "none"}])
    assert report.parameters_after < report.parameters_before
    assert next(cut for cut in report.cuts if cut.name == "fc").status == "skipped"
    assert module(noise(1, 3, 32, 32)).shape == (1, 20)
