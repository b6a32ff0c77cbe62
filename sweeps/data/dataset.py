"""What every data set is once it is loaded: checked inputs and labels with a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmt.registry import Registry
from sweeps.data.reading import Images, Inputs, OnDisk, read_here
from sweeps.errors import SweepError

__all__ = ["ARRAYS", "DATASETS", "Dataset", "Images", "Inputs", "InvalidData", "Labels", "OnDisk"]

Labels = NDArray[np.int64]  # (N,), 0 to classes - 1
READ_BYTES = 1 << 20
"""What is read at a time of inputs that are on disk, for the fingerprint."""
ARRAYS = ("train_inputs", "train_labels", "test_inputs", "test_labels")


class InvalidData(SweepError, ValueError):
    """Data that was found but can not be trained on; the message says what is wrong and what is allowed."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and labels of one data set.

    Arrays are read-only: cached here, shared by Ray's object store elsewhere. Inputs can also be `OnDisk`: the
    data set is then a description, wherever it goes.

    Attributes:
        name: What a spec calls it.
        train_inputs: (N, C, H, W), array or on disk, uint8 or float32, finite; what validation is held out of.
        train_labels: (N,) int64, each of 0 to `classes` - 1 at least once.
        test_inputs: (M, C, H, W) of the same type and shape; looked at once, at the end of a training.
        test_labels: (M,) int64.
        classes: How many classes there are, at least 2.

    Raises:
        InvalidData: An array is not as described here.
    """

    name: str
    train_inputs: Inputs
    train_labels: Labels
    test_inputs: Inputs
    test_labels: Labels
    classes: int

    def __post_init__(self) -> None:
        for name in ARRAYS:
            given = getattr(self, name)
            if isinstance(given, OnDisk):
                continue
            array = np.ascontiguousarray(given, dtype=given.dtype.newbyteorder("=")).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        _check(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one input."""
        channels, height, width = self.train_inputs.shape[1:]
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over names, types, shapes and bytes of the four arrays, in hexadecimal.

        Inputs on disk are read once for it, a piece at a time, and give the fingerprint they have in memory.
        """
        digest = hashlib.sha256()
        for name in ARRAYS:
            array = getattr(self, name)
            little = array.dtype.newbyteorder("<")
            digest.update(f"{name}:{little.str}:{array.shape};".encode())
            for piece in _pieces(array):
                digest.update(piece.astype(little, copy=False).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()


DATASETS: Registry[Callable[..., Dataset]] = Registry("data set")


def _pieces(array: Inputs | Labels) -> Iterable[NDArray[Any]]:
    if not isinstance(array, OnDisk):
        return [array]
    each = max(1, READ_BYTES // (int(np.prod(array.shape[1:])) * array.dtype.itemsize))
    rows = np.arange(len(array))
    return read_here(array, (rows[start : start + each] for start in range(0, len(rows), each)))


def _check(dataset: Dataset) -> None:
    for part in ("train", "test"):
        inputs, labels = getattr(dataset, f"{part}_inputs"), getattr(dataset, f"{part}_labels")
        _check_inputs(dataset, f"{part}_inputs", inputs)
        _check_labels(dataset, f"{part}_labels", labels, examples=len(inputs))
    if dataset.test_inputs.shape[1:] != dataset.train_inputs.shape[1:]:
        raise InvalidData(
            f"{dataset.name}: test_inputs are {_by(dataset.test_inputs.shape[1:])} each, "
            f"train_inputs {_by(dataset.train_inputs.shape[1:])}; allowed: the same"
        )
    if dataset.test_inputs.dtype != dataset.train_inputs.dtype:
        raise InvalidData(
            f"{dataset.name}: test_inputs are {dataset.test_inputs.dtype}, "
            f"train_inputs {dataset.train_inputs.dtype}; allowed: the same"
        )
    present = np.unique(dataset.train_labels)
    if len(present) < dataset.classes:
        # Labels are sorted, distinct and from 0 up: the first that is above its place follows the first gap.
        gap = int(np.argmax(np.append(present, -1) != np.arange(len(present) + 1)))
        raise InvalidData(
            f"{dataset.name}: train_labels hold no example of class {gap}; "
            f"labels must be 0 to {dataset.classes - 1}, each at least once"
        )


def _check_inputs(dataset: Dataset, name: str, inputs: Inputs) -> None:
    if inputs.ndim != 4 or 0 in inputs.shape:
        raise InvalidData(
            f"{dataset.name}: {name} have the shape {inputs.shape}; "
            "allowed: (examples, channels, height, width), none of them 0"
        )
    if inputs.dtype not in (np.uint8, np.float32):
        raise InvalidData(f"{dataset.name}: {name} are {inputs.dtype}; allowed: uint8, float32")
    if isinstance(inputs, np.ndarray) and inputs.dtype == np.float32:
        wrong = ~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)
        if wrong.any():
            raise InvalidData(
                f"{dataset.name}: {name} hold NaN or infinite values in {wrong.sum()} of {len(inputs)} "
                f"examples, the first is example {int(np.argmax(wrong))}; allowed: finite values"
            )


def _check_labels(dataset: Dataset, name: str, labels: Labels, examples: int) -> None:
    if labels.shape != (examples,):
        raise InvalidData(f"{dataset.name}: {name} have the shape {labels.shape}; allowed: ({examples},)")
    if labels.dtype != np.int64:
        raise InvalidData(f"{dataset.name}: {name} are {labels.dtype}; allowed: int64")
    if dataset.classes < 2:
        raise InvalidData(f"{dataset.name}: there are {dataset.classes} classes; allowed: 2 or more")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= dataset.classes:
        raise InvalidData(
            f"{dataset.name}: {name} range from {low} to {high}; allowed: 0 to {dataset.classes - 1}"
        )


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
