from pathlib import Path

import numpy as np
import pytest

from sweeps.data import InvalidData
from sweeps.data.mnist import FASHION, MNIST, fashion_mnist, mnist
from sweeps.errors import DataNotFound
from tests.sweeps.data.files import write_mnist
from tests.sweeps.data.pixels import pixels


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", ["", "MNIST/raw", "mnist"])
def test_found_below_an_explicit_root(nowhere: Path, folder: str, suffix: str) -> None:
    write_mnist(nowhere / "root" / folder, suffix=suffix)
    dataset = mnist(root=str(nowhere / "root"))
    assert dataset.train_inputs.shape == (60, 1, 28, 28)
    assert dataset.test_labels.tolist() == [number % 10 for number in range(20)]


@pytest.mark.slow
def test_reads_what_torchvision_reads_from_its_own_layout(nowhere: Path) -> None:
    from torchvision.datasets import FashionMNIST

    write_mnist(nowhere / "FashionMNIST" / "raw")
    dataset = fashion_mnist(root=str(nowhere))
    for train, inputs, labels in (
        (True, dataset.train_inputs, dataset.train_labels),
        (False, dataset.test_inputs, dataset.test_labels),
    ):
        theirs = FashionMNIST(nowhere, train=train, download=False)
        np.testing.assert_array_equal(pixels(inputs)[:, 0], theirs.data)
        np.testing.assert_array_equal(labels, theirs.targets)


def test_places_are_tried_in_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, then RMT_DATA, then the system's folder, then where downloads go: each is emptied in turn."""
    places = [
        nowhere / "root" / "FashionMNIST" / "raw",
        nowhere / "data" / "FashionMNIST" / "raw",
        nowhere / "share" / "datasets" / "fashion-mnist",
        nowhere / "cache" / "rmt-sweeps" / "FashionMNIST" / "raw",
    ]
    monkeypatch.setenv("RMT_DATA", str(nowhere / "data"))
    for place in places:
        write_mnist(place, suffix=".gz")
    for place in places:
        found = FASHION.find(root=str(nowhere / "root"))
        assert {path.parent for path in found} == {place}
        found[2].unlink()
    with pytest.raises(DataNotFound):
        FASHION.find(root=str(nowhere / "root"))


def test_a_missing_set_says_every_place_and_how_to_get_it(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMT_DATA", str(nowhere / "data"))
    with pytest.raises(DataNotFound) as caught:
        fashion_mnist(root=str(nowhere / "root"))
    message = str(caught.value)
    for place in ("root", "root/FashionMNIST/raw", "data/FashionMNIST/raw", "share/datasets/fashion-mnist"):
        assert str(nowhere / place) in message
    assert str(nowhere / "cache" / "rmt-sweeps" / "FashionMNIST" / "raw") in message
    for way in ("apt install dataset-fashion-mnist", "d.FashionMNIST('FOLDER', download=True)", "RMT_DATA=FOLDER"):
        assert way in message


def test_places_that_nobody_gave_are_said_not_to_be_given(nowhere: Path) -> None:
    with pytest.raises(DataNotFound, match=r"data\.root: not given\n  \$RMT_DATA: not given"):
        mnist()


def test_a_folder_with_a_part_of_the_files_says_so(nowhere: Path) -> None:
    write_mnist(nowhere / "root")
    (nowhere / "root" / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(DataNotFound, match="root holds 3 of its 4 files"):
        mnist(root=str(nowhere / "root"))


def test_a_relative_with_the_same_file_names_is_not_taken_for_it(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mnist(nowhere / "mnist")
    monkeypatch.setenv("RMT_DATA", str(nowhere / "mnist"))
    assert MNIST.find(root=None)
    with pytest.raises(DataNotFound):
        FASHION.find(root=None)


def test_images_and_labels_of_different_numbers_are_refused(nowhere: Path) -> None:
    write_mnist(nowhere / "one", train=60)
    write_mnist(nowhere / "other", train=50)
    (nowhere / "other" / "train-labels-idx1-ubyte").replace(nowhere / "one" / "train-labels-idx1-ubyte")
    with pytest.raises(InvalidData, match=r"mnist: train_labels have the shape \(50,\); allowed: \(60,\)"):
        mnist(root=str(nowhere / "one"))
