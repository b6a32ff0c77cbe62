"""The user's own arrays, from one npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeps.data.dataset import ARRAYS, DATASETS, Dataset, Images, InvalidData, Labels
from sweeps.errors import DataNotFound

LAYOUTS = "(examples, features), (examples, height, width) or (examples, channels, height, width)"


def _files(*, path: str) -> list[Path]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataNotFound(
            f"data.path: there is no file {file} (looked for at {file.absolute()}); write one with\n"
            f"    numpy.savez({file.name!r}, {', '.join(f'{name}=...' for name in ARRAYS)})"
        )
    return [file]


@DATASETS.register(version=1, location=("path",), files=_files)
def arrays(*, path: str) -> Dataset:
    """Your own arrays: an npz file with train_inputs, train_labels, test_inputs and test_labels.

    Inputs are (examples, features), (examples, height, width) or (examples, channels, height, width), of uint8
    or floats (kept as float32); labels are integers from 0, each class occurring in training.
    """
    (file,) = _files(path=path)
    found = _read(file)
    train_labels, test_labels = (_labels(file, name, found[name]) for name in ("train_labels", "test_labels"))
    return Dataset(
        "arrays",
        _inputs(file, "train_inputs", found["train_inputs"]),
        train_labels,
        _inputs(file, "test_inputs", found["test_inputs"]),
        test_labels,
        classes=int(train_labels.max(initial=0)) + 1,
    )


def _read(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            names = set(archive.files)
            if names != set(ARRAYS):
                held = ", ".join(sorted(names)) or "nothing"
                raise InvalidData(f"{file} holds {held}; allowed: exactly {', '.join(ARRAYS)}")
            return {name: archive[name] for name in ARRAYS}
    except InvalidData:
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InvalidData(f"{file} can not be read as an npz file without pickle: {error}") from error


def _inputs(file: Path, name: str, values: NDArray[Any]) -> Images:
    if values.dtype != np.uint8 and values.dtype.kind != "f":
        raise InvalidData(f"{file}: {name} are {values.dtype}; allowed: uint8, or floats (kept as float32)")
    if values.ndim not in (2, 3, 4):
        raise InvalidData(f"{file}: {name} have the shape {values.shape}; allowed: {LAYOUTS}")
    missing = {2: (1, 2), 3: (1,), 4: ()}[values.ndim]
    images = np.expand_dims(values, missing)
    if images.dtype == np.uint8:
        return images
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite, which is then refused by name
        return images.astype(np.float32, copy=False)


def _labels(file: Path, name: str, values: NDArray[Any]) -> Labels:
    if values.dtype.kind not in "iu":
        raise InvalidData(f"{file}: {name} are {values.dtype}; allowed: integers")
    if values.ndim != 1:
        raise InvalidData(f"{file}: {name} have the shape {values.shape}; allowed: (examples,)")
    return values.astype(np.int64)
