"""Which layers give a network's output, and names that are no layers."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

import rmt
from rmt.errors import InvalidOption


def heads_of(module: nn.Module, heads: list[str] | None = None) -> list[str]:
    return [layer.name for layer in rmt.layers_of(module, heads) if layer.head]


class Tied(nn.Module):
    """A language model in small: the output weight is the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 64)
        self.hidden = nn.Linear(64, 64)
        self.output = nn.Linear(64, 100, bias=False)
        self.output.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(torch.relu(self.hidden(self.words(tokens))))


def test_a_tied_embedding_is_the_head() -> None:
    assert heads_of(Tied()) == ["words"]
    assert heads_of(Tied(), ["output"]) == ["words"]
    report = rmt.prune(Tied(), "rank", 0.8)
    assert [cut.name for cut in report.changed] == ["hidden"]


def test_a_convolution_after_the_last_linear_layer_is_a_head() -> None:
    torch.manual_seed(0)
    body, squeeze, classify = nn.Conv2d(3, 64, 3), nn.Linear(64, 64), nn.Conv2d(64, 100, 1)
    assert heads_of(nn.Sequential(body, nn.ReLU(), classify)) == ["2"]
    assert heads_of(nn.Sequential(body, classify, squeeze)) == ["2"]
    # Which of the two gives the output can not be told from their order: both are left.
    assert heads_of(nn.Sequential(squeeze, body, classify)) == ["0", "2"]
    grouped = nn.Conv1d(64, 128, 1, groups=2)
    assert heads_of(nn.Sequential(body, grouped)) == heads_of(nn.Sequential(body, grouped), ["1"])
    assert heads_of(nn.Sequential(body, grouped)) == ["1[0]", "1[1]"]


def test_heads_of_torchvision() -> None:
    models = torchvision.models
    with torch.device("meta"):
        assert heads_of(models.squeezenet1_1()) == ["classifier.1"]
        assert heads_of(models.resnet18()) == ["fc"]
        assert heads_of(models.googlenet(init_weights=False)) == ["aux1.fc2", "aux2.fc2", "fc"]
        network = models.segmentation.fcn_resnet50(weights_backbone=None, aux_loss=True)
        assert heads_of(network) == ["classifier.4", "aux_classifier.4"]


def test_a_head_without_a_matrix_does_not_pass_its_place_on() -> None:
    module = nn.Sequential(nn.Linear(64, 64), torch.nn.utils.parametrizations.weight_norm(nn.Linear(64, 10)))
    assert heads_of(module) == []
    assert [cut.status for cut in rmt.prune(module, "rank", 0.5).cuts] == ["cut"]


def test_a_layer_of_two_names_is_a_head_under_both() -> None:
    module = nn.Module()
    module.first = nn.Linear(64, 64)
    module.second = nn.Linear(64, 64)
    module.output = module.first
    assert heads_of(module) == ["first"]
    assert heads_of(module, ["output"]) == ["first"]


@pytest.mark.parametrize("heads", [["nope"], ["2", "nope"]])
def test_an_unknown_head_names_the_layers(heads: list[str]) -> None:
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    with pytest.raises(InvalidOption, match=r"'nope'.*known: 0, 2"):
        rmt.prune(module, heads=heads)
    assert heads_of(module, []) == []


def test_an_override_that_matches_nothing_names_the_layers() -> None:
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    with pytest.raises(InvalidOption, match=r"'nope' matches no layer; known: 0 \(linear\), 2 \(linear\)"):
        rmt.prune(module, overrides=[{"match": "linear", "rule": "none"}, {"match": "nope", "rule": "none"}])
    assert rmt.prune(nn.ReLU(), overrides=[{"match": "nope", "rule": "none"}]).rows() == []
    with pytest.raises(LookupError, match="nope"):
        rmt.prune(nn.ReLU(), "nope")


def test_an_override_may_give_the_very_name_of_a_part() -> None:
    module = nn.Sequential(nn.MultiheadAttention(64, 2), nn.Linear(64, 10))
    report = rmt.prune(module, "rank", 0.5, overrides=[{"match": "0[q]", "rule": "none"}])
    assert {cut.name: cut.status for cut in report.cuts if "[" in cut.name} == {
        "0[q]": "kept",
        "0[k]": "cut",
        "0[v]": "cut",
    }
