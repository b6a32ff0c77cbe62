"""What every registered data set promises; registering one is what puts it under test."""

import inspect
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeps.data import DATASETS, Dataset, find, load, split
from sweeps.errors import DataNotFound
from sweeps.trial_spec import Data
from tests.sweeps.data.files import write_cifar10, write_image, write_mnist

Options = dict[str, object]


def _mnist(folder: Path) -> Options:
    write_mnist(folder / "MNIST" / "raw", train=200)
    return {"root": str(folder)}


def _fashion(folder: Path) -> Options:
    write_mnist(folder / "FashionMNIST" / "raw", train=200, suffix=".gz")
    return {"root": str(folder)}


def _cifar10(folder: Path) -> Options:
    write_cifar10(folder / "cifar-10-batches-py", batch=40)
    return {"root": str(folder)}


def _arrays(folder: Path) -> Options:
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(150, 12)), np.arange(150) % 3
    np.savez(
        folder / "mine.npz",
        train_inputs=inputs[:100],
        train_labels=labels[:100],
        test_inputs=inputs[100:],
        test_labels=labels[100:],
    )
    return {"path": str(folder / "mine.npz")}


def _image_folder(folder: Path) -> Options:
    random = np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        for number in range(40):
            pixels = random.integers(0, 256, (9, 12, 3), dtype=np.uint8)
            write_image(folder / name / f"{number}.png", pixels)
    return {"root": str(folder), "size": [8, 8]}


# How to make a small one of each that needs files; the others are taken as they are.
FILES: dict[str, Callable[[Path], Options]] = {
    "arrays": _arrays,
    "cifar10": _cifar10,
    "fashion_mnist": _fashion,
    "image_folder": _image_folder,
    "mnist": _mnist,
}


@pytest.fixture(params=list(DATASETS))
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Data:
    make = FILES.get(request.param, lambda folder: {})
    return Data.model_validate({"kind": request.param, "validation": 30, **make(tmp_path)})


def test_arrays_are_what_a_data_set_promises(data: Data) -> None:
    dataset = load(data)
    assert isinstance(dataset, Dataset)
    assert dataset.name == data.kind
    for inputs, labels in (
        (dataset.train_inputs, dataset.train_labels),
        (dataset.test_inputs, dataset.test_labels),
    ):
        assert inputs.dtype in (np.uint8, np.float32)
        assert inputs.shape == (len(labels), *dataset.shape)
        assert labels.dtype == np.int64
        assert isinstance(inputs, np.ndarray)
        assert inputs.flags.c_contiguous
        assert not inputs.flags.writeable
        assert len(labels) > 0
    assert set(dataset.train_labels) == set(range(dataset.classes))
    assert set(dataset.test_labels) <= set(range(dataset.classes))


def test_loading_again_gives_the_same_content(data: Data) -> None:
    assert data.entry.function(**data.options).fingerprint == load(data).fingerprint
    assert load(data) is load(data)


def test_splits_into_normalised_tensors(data: Data) -> None:
    dataset = load(data)
    parts = split(dataset, seed=1, validation=data.validation)
    assert len(parts.validation) == 30
    assert len(parts.train) == len(dataset.train_labels) - 30
    assert len(parts.test) == len(dataset.test_labels)
    for part in (parts.train, parts.validation, parts.test):
        assert part.inputs.dtype == torch.float32
        assert part.inputs.shape == (len(part), *dataset.shape)
        assert part.labels.dtype == torch.int64
        assert torch.isfinite(part.inputs).all()
    assert parts.train.inputs.mean().item() == pytest.approx(0, abs=1e-4)
    assert (parts.train.inputs.std(dim=(0, 2, 3)) < 1.1).all()


def test_trains_the_same_after_a_journey_through_an_object_store(data: Data) -> None:
    """Arrays come out of Ray's object store read-only and elsewhere in memory."""
    dataset = load(data)
    there = pickle.loads(pickle.dumps(dataset, protocol=5))  # noqa: S301 - written in the same line
    assert there.fingerprint == dataset.fingerprint
    here, far = (split(each, seed=2, validation=30, train_size=40) for each in (dataset, there))
    assert torch.equal(here.train.inputs, far.train.inputs)


def test_options_survive_their_own_document(data: Data) -> None:
    document = json.loads(json.dumps(data.model_dump(mode="json")))
    assert Data.model_validate(document) == data


@pytest.mark.parametrize("name", DATASETS)
def test_declares_what_it_is_and_where_it_lies(name: str) -> None:
    entry = DATASETS[name]
    assert entry.version >= 1
    assert entry.summary.endswith(".")
    location = entry.traits.get("location", ())
    assert set(location) <= set(entry.options.model_fields)
    assert ("files" in entry.traits) == bool(location)
    for trait in {"files", "download"} & set(entry.traits):
        assert set(inspect.signature(entry.traits[trait]).parameters) == set(location)


@pytest.mark.parametrize("name", [name for name in DATASETS if "files" in DATASETS[name].traits])
def test_a_missing_one_is_a_clear_error_before_anything_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RMT_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (option,) = DATASETS[name].traits["location"]
    data = Data.model_validate({"kind": name, option: str(tmp_path / "absent")})
    for look in (find, load):
        with pytest.raises(DataNotFound, match="absent"):
            look(data)


def test_the_real_fashion_mnist() -> None:
    """The paper's data set, from the system's folder: continuous integration installs it, others may skip it."""
    data = Data.model_validate({"kind": "fashion_mnist", "validation": 10_000})
    try:
        find(data)
    except DataNotFound as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    dataset = load(data)
    assert dataset.train_inputs.shape == (60_000, 1, 28, 28)
    assert dataset.train_inputs.dtype == np.uint8
    assert np.bincount(dataset.train_labels).tolist() == [6000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1000] * 10
    parts = split(dataset, seed=0, validation=data.validation)
    assert np.bincount(parts.validation.labels).tolist() == [1000] * 10
    # Mean and standard deviation of all training pixels, as everybody normalises by: 0.2860 and 0.3530 of 255.
    assert parts.normalisation.mean[0] / 255 == pytest.approx(0.2860, abs=1e-3)
    assert parts.normalisation.sd[0] / 255 == pytest.approx(0.3530, abs=1e-3)
