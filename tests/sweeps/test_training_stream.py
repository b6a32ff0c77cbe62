"""Trainings whose images stay on disk: the numbers of those in memory, and no more in memory than is worked on."""

from __future__ import annotations

import gc
import pickle
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from sweeps.data import InvalidData, load
from sweeps.data.reading import OnDisk, Workers
from sweeps.identity import trial_id
from sweeps.seeds import Seeds
from sweeps.training import StackTraining
from sweeps.trial import run_trial
from sweeps.trial_spec import TrialSpec
from tests.sweeps.data.files import write_image
from tests.sweeps.small_trials import finish, trial

UNPRUNED = {"rule": "none"}
SEEDS = [Seeds(number) for number in range(3)]


def write_folder(root: Path, each: int = 60, side: int = 8) -> Path:
    """Images of three classes, of noise that is brighter from class to class."""
    random = np.random.default_rng(0)
    for label, name in enumerate(("ant", "bee", "cat")):
        for number in range(each):
            pixels = random.integers(60 * label, 60 * label + 130, (side, side, 3), dtype=np.uint8)
            write_image(root / name / f"{number:04}.bmp", pixels)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("images"))


def spec_of(root: Path, *, lazy: bool, size: int = 8, **changes: Any) -> TrialSpec:
    data = {"kind": "image_folder", "root": str(root), "size": [size, size], "lazy": lazy, "validation": 30}
    return trial(data=data, training__epochs=3, **changes)


def training(spec: TrialSpec, seeds: list[Seeds] = SEEDS, **options: Any) -> StackTraining:
    return StackTraining(spec, seeds, load(spec.data), threads=1, **options)


def readers() -> set[int]:
    """Processes that read for a training: children of the server that they are forked from, which itself stays."""
    return {reader.pid for child in psutil.Process().children() for reader in readers_of(child)}


def readers_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children() if "forkserver" in " ".join(process.cmdline()) else []
    except psutil.NoSuchProcess:  # it ended since it was listed, whatever started it
        return []


def test_histories_weights_and_test_metrics_are_those_in_memory_bit_for_bit(folder: Path) -> None:
    """A stack that is pruned, with augmentation, with an initialisation and a measure that look at examples."""
    changes: dict[str, Any] = {
        "initialisation": {"kind": "lsuv"},
        "training__augmentation": [{"kind": "crop", "padding": 1}, "flip"],
        "measures": {"end": ["sam_sharpness"], "at_epochs": {1: ["dead_units", "spectra"]}},
    }
    held, streamed = (training(spec_of(folder, lazy=lazy, **changes)) for lazy in (False, True))
    assert finish(streamed) == finish(held)
    for number in range(len(SEEDS)):
        there, here = streamed.outcome(number), held.outcome(number)
        assert there.metrics == here.metrics
        assert np.array_equal(there.test_correct, here.test_correct)
        assert there.weights.keys() == here.weights.keys()
        assert all(torch.equal(there.weights[name], here.weights[name]) for name in here.weights)


def test_a_set_on_disk_has_the_fingerprint_and_the_identity_of_the_same_set_in_memory(folder: Path) -> None:
    held, streamed = (spec_of(folder, lazy=lazy) for lazy in (False, True))
    fingerprint = load(held.data).fingerprint
    assert load(streamed.data).fingerprint == fingerprint
    assert trial_id(streamed, fingerprint) == trial_id(held, fingerprint)


def test_it_travels_as_a_description(folder: Path) -> None:
    dataset = load(spec_of(folder, lazy=True).data)
    fingerprint = dataset.fingerprint
    sent = pickle.dumps(dataset)
    pixels = 3 * 60 * 3 * 8 * 8
    assert len(sent) < pixels / 2
    assert pickle.loads(sent).fingerprint == fingerprint  # noqa: S301 - written above


def test_readers_end_with_the_training(folder: Path) -> None:
    before = readers()
    run = training(spec_of(folder, lazy=True))
    begun = readers() - before
    assert begun
    del run
    until = time.monotonic() + 60
    while (left := begun & readers()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left


def test_more_workers_and_stacks_than_one(folder: Path) -> None:
    results = [
        run_trial(spec, lambda row: None, seeds=[Seeds(0), Seeds(1), Seeds(0, 1)], threads=2)
        for spec in (spec_of(folder, lazy=lazy, model__widths=[16], prune=UNPRUNED) for lazy in (False, True))
    ]
    held, streamed = ([r.outcome.metrics for r in result.replicates if r.outcome] for result in results)
    assert len(streamed) == 3
    assert streamed == held


def test_an_image_that_can_not_be_read_any_more_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path, each=20)
    spec = spec_of(root, lazy=True, data__validation=6)
    dataset = load(spec.data)
    (root / "bee" / "0007.bmp").write_bytes(b"no image")
    with pytest.raises(InvalidData, match=r"bee/0007\.bmp can not be read as an image"):
        StackTraining(spec, SEEDS, dataset, threads=1)


def test_an_older_reading_does_not_get_what_a_newer_one_asked_for(folder: Path) -> None:
    dataset = load(spec_of(folder, lazy=True).data)
    assert isinstance(dataset.train_inputs, OnDisk)
    workers = Workers([dataset.train_inputs], 1)
    older = workers.read(dataset.train_inputs, [np.array([0]), np.array([1]), np.array([2])])
    next(older)
    newer = workers.read(dataset.train_inputs, [np.array([5, 3]), np.array([4])])
    np.testing.assert_array_equal(next(newer), dataset.train_inputs[np.array([5, 3])])
    with pytest.raises(RuntimeError, match="another one has begun"):
        next(older)


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """The traced peak of arrays, from loading to the first epoch, for a set and one that is twice as large."""
    small, large = (_peak(tmp_path / str(each), each) for each in (300, 600))
    assert large - small < 3 * (600 - 300) * 3 * SIDE**2 / 4


SIDE = 32


def _peak(root: Path, each: int) -> int:
    write_folder(root, each=each, side=SIDE)
    spec = spec_of(root, lazy=True, size=SIDE, model__widths=[4], prune=UNPRUNED)
    tracemalloc.start()
    try:
        dataset = load(spec.data)
        assert dataset.fingerprint
        run = StackTraining(spec, SEEDS[:1], dataset, threads=1)
        for batch in run._data.batches(1):
            assert _most_held() <= max(len(batch), spec.training.batch_size)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _most_held() -> int:
    """Images in the largest tensor of images that is alive."""
    tensors = (one for one in gc.get_objects() if type(one) is torch.Tensor)
    return max((len(one) for one in tensors if one.ndim == 4 and one.shape[2:] == (SIDE, SIDE)), default=0)
