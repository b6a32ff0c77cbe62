"""CIFAR-10, from the Python version of its files, read without trusting them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeps.data.dataset import DATASETS, Dataset, InvalidData
from sweeps.data.places import Published

FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
CIFAR10 = Published("cifar10", "CIFAR10", ("cifar-10-batches-py",), FILES)


@DATASETS.register(version=1, location=("root",), files=CIFAR10.find, download=CIFAR10.download)
def cifar10(*, root: str | None = None) -> Dataset:
    """60,000 colour photographs of 32 × 32 pixels in ten classes, 10,000 of them for the test.

    `root` is a folder with the six batches, or one in torchvision's layout.
    """
    batches = [_read_batch(path) for path in CIFAR10.find(root=root)]
    images = np.concatenate([images for images, _ in batches[:-1]])
    labels = np.concatenate([labels for _, labels in batches[:-1]])
    return Dataset("cifar10", images, labels, *batches[-1], classes=10)


def _read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="latin1").load()
        images, labels = np.asarray(batch["data"]), np.asarray(batch["labels"])
    except (OSError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError) as error:
        raise InvalidData(f"{path} is no batch of CIFAR-10: {type(error).__name__}: {error}") from error
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3 * 32 * 32:
        raise InvalidData(f"{path} holds {images.dtype} images of shape {images.shape}; allowed: uint8 (n, 3072)")
    if labels.dtype.kind not in "iu":
        raise InvalidData(f"{path} holds labels of type {labels.dtype}; allowed: integers")
    return images.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _latin1(text: str, encoding: str) -> bytes:
    """Stand-in for `codecs.encode`, by which new pickles in old protocols spell bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}; allowed: latin1")
    return text.encode("latin1")


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays and plain values; a pickle that asks for anything else is refused, so it runs nothing."""

    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # The published files name the function as numpy 1 did; importing it from there is deprecated.
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("_codecs", "encode"): _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set") from None
