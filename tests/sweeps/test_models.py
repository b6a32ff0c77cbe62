"""Architectures: what they refuse, and weights from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sweeps.initialisations import initialise
from sweeps.models import ArchitectureMismatch, build, check, draws, learns_from_one, stackable
from sweeps.trial_spec import Initialisation, Model


def model(**options: object) -> Model:
    return Model.model_validate(options)


def test_linear_logits_are_the_default() -> None:
    assert isinstance(list(build(model(kind="mlp"), (1, 8, 8), 10).children())[-1], nn.Linear)
    compat = build(model(kind="mlp", output_activation="relu"), (1, 8, 8), 10)
    assert isinstance(list(compat.children())[-1], nn.ReLU)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"kind": "lenet5"}, (1, 8, 8), "nothing is left of an image of 8 x 8 at conv2"),
        ({"kind": "vit", "patch": 5}, (3, 32, 32), "patches of 5 do not tile an image of 32 x 32"),
        ({"kind": "vit", "width": 30}, (3, 32, 32), "4 heads do not divide a width of 30"),
        (
            {"kind": "torchvision", "model": "resnet17"},
            (3, 32, 32),
            "no classification model 'resnet17'; it has: ",
        ),
        ({"kind": "torchvision"}, (1, 32, 32), "does not fit examples of shape 1x32x32 in 10 classes"),
        ({"kind": "torchvision", "weights": "nowhere.pt"}, (3, 32, 32), "weights: there is no file nowhere.pt"),
    ],
)
def test_what_does_not_fit_says_why(options: dict[str, object], shape: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ArchitectureMismatch, match=message):
        check(model(**options), shape, 10)


def test_the_papers_convolutional_network_has_its_size() -> None:
    paper = model(
        kind="cnn",
        channels=[32, 64, 128, 256, 512],
        hidden=[1000],
        padding=0,
        pool_every=3,
        normalisation="batch",
        convolution_dropout=0.35,
        dropout=0.5,
    )
    module = build(paper, (1, 28, 28), 10)
    assert not stackable(module)
    assert draws(module)
    check(paper, (1, 28, 28), 10)


def test_batch_normalisation_is_not_stacked_and_group_normalisation_is() -> None:
    assert stackable(build(model(kind="resnet18", width=8), (3, 32, 32), 10))
    assert not stackable(build(model(kind="resnet18", width=8, normalisation="batch"), (3, 32, 32), 10))


def test_weights_from_a_file_are_not_drawn_anew(tmp_path: Path) -> None:
    plain = model(kind="torchvision", model="squeezenet1_1")
    source = build(plain, (3, 32, 32), 10)
    for name, suffix in (("a.safetensors", save_file), ("a.pt", torch.save)):
        suffix(source.state_dict(), tmp_path / name)
        loaded = build(
            model(kind="torchvision", model="squeezenet1_1", weights=str(tmp_path / name)), (3, 32, 32), 10
        )
        generator = torch.Generator().manual_seed(0)
        initialise(loaded, Initialisation.model_validate({}), generator, torch.zeros(2, 3, 32, 32))
        for key, tensor in source.state_dict().items():
            assert torch.equal(tensor, loaded.state_dict()[key])


def test_running_statistics_from_a_file_stay_and_others_begin_anew(tmp_path: Path) -> None:
    options = {"kind": "torchvision", "model": "shufflenet_v2_x0_5"}
    source = build(model(**options), (3, 32, 32), 10)
    source.train()(torch.randn(8, 3, 32, 32) * 3 + 1)
    saved = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    assert not torch.equal(saved["conv1.1.running_mean"], torch.zeros(24))
    save_file(saved, tmp_path / "a.safetensors")
    loaded = build(model(**options, weights=str(tmp_path / "a.safetensors")), (3, 32, 32), 10)
    for seed in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        initialise(loaded, Initialisation.model_validate({}), generator, torch.zeros(2, 3, 32, 32))
        for name, tensor in saved.items():
            assert torch.equal(tensor, loaded.state_dict()[name]), name
    initialise(source, Initialisation.model_validate({}), torch.Generator(), torch.zeros(2, 3, 32, 32))
    assert torch.equal(source.state_dict()["conv1.1.running_mean"], torch.zeros(24))


def test_a_weights_file_of_other_shapes_is_refused(tmp_path: Path) -> None:
    source = build(model(kind="torchvision", model="resnet18"), (3, 32, 32), 7)
    save_file(source.state_dict(), tmp_path / "seven.safetensors")
    options = {"kind": "torchvision", "model": "resnet18", "weights": str(tmp_path / "seven.safetensors")}
    with pytest.raises(ArchitectureMismatch, match=r"has fc\.\w+ of shape \(7,.*; the model has \(10,"):
        build(model(**options), (3, 32, 32), 10)
    other = build(model(**options, fresh_head=True), (3, 32, 32), 10)
    assert torch.equal(other.state_dict()["conv1.weight"], source.state_dict()["conv1.weight"])


def test_a_fresh_head_may_be_a_convolution(tmp_path: Path) -> None:
    options = {"kind": "torchvision", "model": "squeezenet1_1"}
    source = build(model(**options), (3, 32, 32), 7)
    save_file(source.state_dict(), tmp_path / "seven.safetensors")
    other = build(model(**options, weights=str(tmp_path / "seven.safetensors"), fresh_head=True), (3, 32, 32), 10)
    assert set(source.state_dict()) - vars(other)["loaded"] == {"classifier.1.weight", "classifier.1.bias"}
    assert torch.equal(other.state_dict()["features.0.weight"], source.state_dict()["features.0.weight"])


def test_batch_normalisation_of_one_position_does_not_learn_from_one_example() -> None:
    alone = model(kind="resnet18", width=8, normalisation="batch")
    assert not learns_from_one(alone, (3, 8, 8), 10)
    assert learns_from_one(alone, (3, 32, 32), 10)
    assert learns_from_one(model(kind="mlp"), (3, 8, 8), 10)
