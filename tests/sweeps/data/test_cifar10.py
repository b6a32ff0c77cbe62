import pickle
from pathlib import Path

import numpy as np
import pytest

from sweeps.data import InvalidData
from sweeps.data.cifar10 import cifar10
from sweeps.errors import DataNotFound
from tests.sweeps.data.files import python2_batch, write_cifar10
from tests.sweeps.data.pixels import pixels


@pytest.mark.parametrize("folder", ["", "cifar-10-batches-py"])
def test_batches_are_joined_in_order(nowhere: Path, folder: str) -> None:
    write_cifar10(nowhere / folder)
    dataset = cifar10(root=str(nowhere))
    assert dataset.train_inputs.shape == (100, 3, 32, 32)
    assert dataset.test_inputs.shape == (20, 3, 32, 32)
    third = pickle.loads((nowhere / folder / "data_batch_3").read_bytes())  # noqa: S301 - written above
    np.testing.assert_array_equal(pixels(dataset.train_inputs)[40:60].reshape(20, 3072), third["data"])
    assert dataset.train_labels[40:60].tolist() == third["labels"]


def test_the_published_files_are_of_python_2(nowhere: Path) -> None:
    write_cifar10(nowhere)
    images = np.random.default_rng(1).integers(0, 256, (10, 3072), dtype=np.uint8)
    (nowhere / "test_batch").write_bytes(python2_batch(images, list(range(10))))
    dataset = cifar10(root=str(nowhere))
    np.testing.assert_array_equal(pixels(dataset.test_inputs).reshape(10, 3072), images)
    assert dataset.test_labels.tolist() == list(range(10))


class Harmful:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return __import__("os").mkdir, (str(self.mark),)


def test_a_batch_can_run_nothing(nowhere: Path) -> None:
    write_cifar10(nowhere)
    (nowhere / "data_batch_2").write_bytes(pickle.dumps({"data": Harmful(nowhere / "mark"), "labels": []}))
    with pytest.raises(InvalidData, match=r"data_batch_2 is no batch .* has no place in a data set"):
        cifar10(root=str(nowhere))
    assert not (nowhere / "mark").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "test_batch is no batch of CIFAR-10: EOFError"),
        (b"<html>", "test_batch is no batch of CIFAR-10: UnpicklingError"),
        (pickle.dumps([1, 2], 2), "test_batch is no batch of CIFAR-10: TypeError"),
        (pickle.dumps({"labels": [1]}, 2), "test_batch is no batch of CIFAR-10: KeyError: 'data'"),
        (pickle.dumps({"data": np.zeros((2, 5), "u1"), "labels": [0, 1]}, 2), r"uint8 images of shape \(2, 5\)"),
        (pickle.dumps({"data": np.zeros((1, 3072), "f4"), "labels": [0]}, 2), "holds float32 images"),
        (pickle.dumps({"data": np.zeros((1, 3072), "u1"), "labels": ["cat"]}, 2), "labels of type <U3; allowed"),
    ],
)
def test_a_file_that_is_no_batch_is_refused_by_name(nowhere: Path, content: bytes, message: str) -> None:
    write_cifar10(nowhere)
    (nowhere / "test_batch").write_bytes(content)
    with pytest.raises(InvalidData, match=message):
        cifar10(root=str(nowhere))


def test_a_missing_set_says_how_to_get_it(nowhere: Path) -> None:
    with pytest.raises(
        DataNotFound, match=r"(?s)downloads: .*cifar-10-batches-py is no folder that can be read.*d\.CIFAR10\("
    ):
        cifar10()
