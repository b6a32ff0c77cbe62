from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeps.data import InvalidData
from sweeps.data.arrays import arrays
from sweeps.errors import DataNotFound
from tests.sweeps.data.pixels import pixels


def write(path: Path, **changed: Any) -> str:
    content = {
        "train_inputs": np.arange(12, dtype=np.uint8).reshape(4, 3),
        "train_labels": np.array([0, 1, 0, 1]),
        "test_inputs": np.zeros((2, 3), dtype=np.uint8),
        "test_labels": np.array([0, 1]),
    } | changed
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return str(path)


@pytest.mark.parametrize(("given", "kept"), [((4,), (1, 1, 4)), ((2, 3), (1, 2, 3)), ((3, 2, 5), (3, 2, 5))])
@pytest.mark.parametrize(("dtype", "stored"), [("u1", "u1"), ("f4", "f4"), ("f8", "f4"), ("f2", "f4")])
def test_layouts_and_types(
    tmp_path: Path, given: tuple[int, ...], kept: tuple[int, ...], dtype: str, stored: str
) -> None:
    train, test = np.ones((4, *given), dtype), np.zeros((2, *given), dtype)
    dataset = arrays(path=write(tmp_path / "a.npz", train_inputs=train, test_inputs=test))
    assert dataset.shape == kept
    assert dataset.train_inputs.dtype == stored
    assert (pixels(dataset.train_inputs) == 1).all()
    assert dataset.classes == 2


@pytest.mark.parametrize("dtype", ["u1", "i4", "u8", ">i8"])
def test_labels_of_any_integer_type(tmp_path: Path, dtype: str) -> None:
    dataset = arrays(path=write(tmp_path / "a.npz", train_labels=np.array([0, 1, 2, 1], dtype)))
    assert dataset.train_labels.dtype == np.int64
    assert dataset.classes == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_labels": None}, "holds test_inputs, train_inputs, train_labels; allowed: exactly train_inputs, "),
        ({"val_inputs": np.zeros(2)}, "holds .*val_inputs; allowed: exactly"),
        (
            {"train_inputs": np.zeros(4, "u1")},
            r"train_inputs have the shape \(4,\); allowed: \(examples, features\)",
        ),
        ({"train_inputs": np.zeros((4, 3), "i8")}, "train_inputs are int64; allowed: uint8, or floats"),
        ({"train_inputs": np.zeros((4, 3), "c8")}, "train_inputs are complex64; allowed"),
        ({"train_inputs": np.zeros((5, 3), "u1")}, r"train_labels have the shape \(4,\); allowed: \(5,\)"),
        ({"train_inputs": np.full((4, 3), np.inf)}, "train_inputs hold NaN or infinite values in 4 of 4 examples"),
        ({"train_inputs": np.full((4, 3), 1e300)}, "train_inputs hold NaN or infinite values in 4 of 4 examples"),
        ({"train_labels": np.array([0.0, 1, 0, 1])}, "train_labels are float64; allowed: integers"),
        ({"train_labels": np.zeros((4, 2), int)}, r"train_labels have the shape \(4, 2\); allowed: \(examples,\)"),
        ({"train_labels": np.array([1, 2, 1, 2])}, "no example of class 0; labels must be 0 to 2"),
        ({"train_labels": np.array([0, 1, 0, 10**12])}, "no example of class 2"),
        ({"train_labels": np.zeros(4, int)}, "there are 1 classes"),
        ({"train_labels": np.zeros(0, int)}, r"train_labels have the shape \(0,\)"),
        ({"test_labels": np.array([0, 2])}, "test_labels range from 0 to 2; allowed: 0 to 1"),
        ({"train_labels": np.array([{}, 1, 0, 1], dtype=object)}, "can not be read as an npz file without pickle"),
    ],
)
def test_what_can_not_be_trained_on_is_refused_by_name(tmp_path: Path, changed: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        arrays(path=write(tmp_path / "a.npz", **changed))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no archive"])
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InvalidData, match=r"a\.npz can not be read as an npz file"):
        arrays(path=str(tmp_path / "a.npz"))


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InvalidData, match="can not be read as an npz file"):
        arrays(path=str(tmp_path / "a.npz"))


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(
        DataNotFound, match=r"(?s)data\.path: there is no file .*a\.npz.*numpy\.savez\('a\.npz', train"
    ):
        arrays(path=str(tmp_path / "a.npz"))
