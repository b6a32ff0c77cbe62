"""Training, validation and test part of a data set: chosen by the split seed, normalised alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from sweeps.data.balance import balanced_order
from sweeps.data.dataset import Dataset
from sweeps.data.reading import Images, Inputs, Read, Rows, read_here
from sweeps.errors import Problem, SpecError

CHUNK = 256  # examples converted at a time: few enough to stay in a processor's cache in double precision


@dataclass(frozen=True, eq=False)
class Normalisation:
    """Mean and standard deviation of each channel over the training part.

    Attributes:
        mean: (C,) float64.
        sd: (C,) float64, above 0: a channel that never varies counts as 1 and is only shifted.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @classmethod
    def of(cls, source: Inputs, rows: Rows, read: Read = read_here) -> Normalisation:
        """Measured over the chosen rows, in double precision and in two passes."""
        channels = source.shape[1]
        count = len(rows) * int(np.prod(source.shape[2:]))
        mean = np.zeros(channels)
        for chunk in _chunks(source, rows, read):
            mean += chunk.sum(axis=(0, 2, 3), dtype=np.float64)
        mean /= count
        squares = np.zeros(channels)
        for chunk in _chunks(source, rows, read):
            squares += np.square(chunk - mean[:, None, None]).sum(axis=(0, 2, 3))
        sd = np.sqrt(squares / count)
        return cls(mean, np.where(sd > 0, sd, 1.0))

    def apply(self, source: Inputs, rows: Rows) -> Float[Tensor, "rows channels height width"]:
        """The chosen rows in units of the standard deviation, as float32."""
        inputs = torch.empty((len(rows), *source.shape[1:]), dtype=torch.float32)
        mean, sd = (torch.from_numpy(x).float()[:, None, None] for x in (self.mean, self.sd))
        filled = 0
        for chunk in _chunks(source, rows):
            place = inputs[filled : filled + len(chunk)]
            torch.sub(torch.from_numpy(chunk), mean, out=place)
            place.div_(sd)
            filled += len(chunk)
        return inputs


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a split. Its floats exist from the first use of `inputs`; until then it costs next to nothing.

    Attributes:
        source: (N, C, H, W) the data set's own, shared.
        rows: (n,) which of its examples are in this part, ascending.
        labels: (n,) int64.
        normalisation: That of the training part, whichever part this is.
    """

    source: Inputs
    rows: Rows
    labels: Int64[Tensor, " n"]
    normalisation: Normalisation

    @cached_property
    def inputs(self) -> Float[Tensor, "n channels height width"]:
        """(n, C, H, W) float32, normalised, on the CPU."""
        return self.normalisation.apply(self.source, self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Split:
    """The three parts, without an example in common: validation chooses, test reports."""

    train: Part
    validation: Part
    test: Part

    @property
    def normalisation(self) -> Normalisation:
        """Mean and standard deviation of the training part, which all parts are normalised by."""
        return self.train.normalisation


def check_split(dataset: Dataset, *, validation: int, train_size: int | None) -> list[Problem]:
    """What is wrong with the sizes of a split, in words; empty when it can be made.

    Every class needs an example in training and one in validation.
    """
    examples, classes = len(dataset.train_labels), dataset.classes
    has = f"{dataset.name} has {examples} training examples of {classes} classes"
    counts = np.bincount(dataset.train_labels, minlength=classes)
    if counts.min() < 2:
        rare = int(np.argmin(counts))
        return [Problem("data.kind", f"{has}, but 1 of class {rare}; allowed: at least 2 of each class")]
    if not classes <= validation <= examples - classes:
        room = f"allowed: {classes} to {examples - classes}, one of each class or more on either side"
        return [Problem("data.validation", f"{validation} can not be held out: {has}; {room}")]
    rest = examples - validation
    if train_size is not None and not classes <= train_size <= rest:
        held_out = f"{has}, {validation} of them held out (data.validation)"
        room = f"allowed: {classes} to {rest}"
        return [Problem("data.train_size", f"{train_size} can not be trained on: {held_out}; {room}")]
    return []


def split(
    dataset: Dataset, *, seed: int, validation: int, train_size: int | None = None, read: Read = read_here
) -> Split:
    """Hold out a class-balanced validation part, and train on the rest or on a class-balanced part of it.

    The validation part depends on the seed and its own size only, and a smaller training part is contained in
    a larger one: trials that differ in `train_size` are validated on the same examples.

    Args:
        dataset: What to split; its test part stays as it is.
        seed: The split seed of a replicate.
        validation: How many training examples are held out.
        train_size: How many of the others are trained on; None for all.
        read: Reads the training part, for its mean and standard deviation.

    Raises:
        SpecError: The sizes do not fit the data set; it names the field, the value and what is allowed.
    """
    if problems := check_split(dataset, validation=validation, train_size=train_size):
        raise SpecError(problems)
    order = balanced_order(dataset.train_labels, seed, "validation")
    held_out, rest = np.sort(order[:validation]), np.sort(order[validation:])
    if train_size is not None:
        chosen = balanced_order(dataset.train_labels[rest], seed, "train")[:train_size]
        rest = np.sort(rest[chosen])
    normalisation = Normalisation.of(dataset.train_inputs, rest, read)
    everything = np.arange(len(dataset.test_labels))
    return Split(
        train=_part(dataset.train_inputs, dataset.train_labels, rest, normalisation),
        validation=_part(dataset.train_inputs, dataset.train_labels, held_out, normalisation),
        test=_part(dataset.test_inputs, dataset.test_labels, everything, normalisation),
    )


def _part(source: Inputs, labels: NDArray[np.int64], rows: Rows, normalisation: Normalisation) -> Part:
    return Part(source, rows, torch.from_numpy(labels[rows]), normalisation)


def _chunks(source: Inputs, rows: Rows, read: Read = read_here) -> Iterator[Images]:
    return read(source, (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)))
