import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from sweeps.data import Dataset, InvalidData
from tests.sweeps.data.pixels import pixels


def arrays(**changed: Any) -> dict[str, Any]:
    whole = {
        "train_inputs": np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2),
        "train_labels": np.array([0, 1, 2, 0, 1, 2]),
        "test_inputs": np.zeros((3, 1, 2, 2), dtype=np.uint8),
        "test_labels": np.array([0, 1, 2]),
        "classes": 3,
    }
    return whole | changed


def test_fingerprint_is_of_the_content_not_of_the_name() -> None:
    first, second = Dataset("one", **arrays()), Dataset("two", **arrays())
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 64


@pytest.mark.parametrize(
    "changed",
    [
        {"train_inputs": arrays()["train_inputs"] + np.uint8(1)},
        {"train_inputs": arrays()["train_inputs"].astype(np.float32), "test_inputs": np.zeros((3, 1, 2, 2), "f4")},
        {
            "train_inputs": arrays()["train_inputs"].reshape(6, 2, 2, 1),
            "test_inputs": np.zeros((3, 2, 2, 1), "u1"),
        },
        {"train_labels": np.array([1, 0, 2, 0, 1, 2])},
        {"test_labels": np.array([0, 1, 1])},
    ],
)
def test_fingerprint_changes_with_values_types_and_shapes(changed: dict[str, Any]) -> None:
    assert Dataset("x", **arrays(**changed)).fingerprint != Dataset("x", **arrays()).fingerprint


def test_fingerprint_does_not_depend_on_memory_layout_or_byte_order() -> None:
    strided = np.asfortranarray(arrays()["train_inputs"])
    swapped = arrays()["train_labels"].astype(">i8")
    again = Dataset("x", **arrays(train_inputs=strided, train_labels=swapped))
    assert again.fingerprint == Dataset("x", **arrays()).fingerprint


def test_arrays_are_read_only_and_the_given_ones_stay_as_they_were() -> None:
    given = arrays()
    dataset = Dataset("x", **given)
    with pytest.raises(ValueError, match="read-only"):
        pixels(dataset.train_inputs)[0] = 1
    given["train_inputs"][0] = 1


def test_travels_by_pickle_without_copying_its_arrays() -> None:
    dataset = Dataset("x", **arrays())
    fingerprint = dataset.fingerprint
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(dataset, protocol=5, buffer_callback=buffers.append)
    assert sum(buffer.raw().nbytes for buffer in buffers) == sum(
        getattr(dataset, name).nbytes for name in ("train_inputs", "train_labels", "test_inputs", "test_labels")
    )
    there = pickle.loads(stream, buffers=buffers)  # noqa: S301 - written two lines above
    assert there.fingerprint == fingerprint
    assert np.shares_memory(there.train_inputs, dataset.train_inputs)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train_inputs": np.zeros((6, 4), "u1")}, r"train_inputs have the shape \(6, 4\); allowed: \(examples, "),
        ({"train_inputs": np.zeros((0, 1, 2, 2), "u1")}, r"train_inputs have the shape \(0, 1, 2, 2\)"),
        ({"train_inputs": np.zeros((6, 1, 2, 2), "f8")}, "train_inputs are float64; allowed: uint8, float32"),
        ({"test_inputs": np.full((3, 1, 2, 2), np.nan, "f4")}, "NaN or infinite values in 3 of 3 examples, .* 0"),
        ({"train_labels": np.zeros(5, "i8")}, r"train_labels have the shape \(5,\); allowed: \(6,\)"),
        ({"train_labels": np.zeros(6, "f4")}, "train_labels are float32; allowed: int64"),
        ({"test_labels": np.array([0, 1, 3])}, "test_labels range from 0 to 3; allowed: 0 to 2"),
        ({"train_labels": np.array([0, 1, 2, 0, 1, -1])}, "train_labels range from -1 to 2; allowed: 0 to 2"),
        ({"train_labels": np.array([0, 2, 2, 0, 2, 2])}, "no example of class 1; labels must be 0 to 2, each at"),
        ({"train_labels": np.array([1, 2, 2, 1, 2, 2])}, "no example of class 0"),
        ({"classes": 4}, "no example of class 3; labels must be 0 to 3"),
        ({"classes": 10**15}, "no example of class 3"),
        ({"classes": 1}, "there are 1 classes; allowed: 2 or more"),
        ({"test_inputs": np.zeros((3, 1, 2, 3), "u1")}, "test_inputs are 1 × 2 × 3 each, train_inputs 1 × 2 × 2"),
        ({"test_inputs": np.zeros((3, 1, 2, 2), "f4")}, "test_inputs are float32, train_inputs uint8"),
    ],
)
def test_what_can_not_be_trained_on_is_refused_by_name(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        Dataset("x", **arrays(**changed))


def test_shape_is_that_of_one_input() -> None:
    assert Dataset("x", **arrays()).shape == (1, 2, 2)


@pytest.mark.slow
def test_importing_the_package_loads_no_library_that_only_one_data_set_needs() -> None:
    check = "import sys, sweeps.data; print([m for m in ('sklearn', 'torchvision', 'PIL') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr
