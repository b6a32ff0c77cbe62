"""The examples of a training on their device, and the order in which they come."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from sweeps import data
from sweeps.data import Dataset
from sweeps.errors import Problem, SpecError
from sweeps.seeds import Seeds
from sweeps.trial_spec import TrialSpec


@dataclass(frozen=True)
class Examples:
    """Inputs (example, channel, height, width) and labels (example,), normalised and on the device."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Examples:
        """The first so many."""
        return Examples(self.inputs[:count], self.labels[:count])

    def split(self, size: int) -> Iterator[Examples]:
        """All of them in their order, so many at a time."""
        for inputs, labels in zip(self.inputs.split(size), self.labels.split(size), strict=True):
            yield Examples(inputs, labels)

    def take(self, batches: Iterable[Tensor]) -> Iterator[Examples]:
        """The examples of each batch of rows."""
        for rows in batches:
            yield Examples(self.inputs[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Streamed:
    """A part of a split whose inputs are on disk: what `Examples` are, with no more in memory than is worked on.

    Attributes:
        part: Of the split.
        labels: (example,), on the device.
        dtype: Of inputs.
        read: How they are read; one sequence of batches at a time.
    """

    part: data.Part
    labels: Tensor
    dtype: torch.dtype
    read: data.Read

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Examples:
        """The first so many."""
        return next(self.take([torch.arange(min(count, len(self)))]))

    def split(self, size: int) -> Iterator[Examples]:
        """All of them in their order, so many at a time."""
        return self.take(torch.arange(len(self)).split(size))

    def take(self, batches: Iterable[Tensor]) -> Iterator[Examples]:
        """The examples of each batch of rows, normalised batch by batch as they would be all at once."""
        wanted = list(batches)
        pages = self.read(self.part.source, (self.part.rows[rows.cpu().numpy()] for rows in wanted))
        for rows, pixels in zip(wanted, pages, strict=True):
            inputs = self.part.normalisation.apply(pixels, np.arange(len(pixels)))
            yield Examples(inputs.to(self.labels.device, self.dtype), self.labels[rows])


Held: TypeAlias = Examples | Streamed


@dataclass(frozen=True, eq=False)
class Placed:
    """A split of a data set, its training and validation examples on the device or within its reach."""

    dataset: Dataset
    split: data.Split
    train: Held
    validation: Held
    read: data.Read


# Stacks of a trial that share a split share its examples, for as long as one of them trains.
_placed: WeakValueDictionary[tuple[Hashable, ...], Placed] = WeakValueDictionary()


def _place(
    spec: TrialSpec, seed: int, dataset: Dataset, device: torch.device, dtype: torch.dtype, workers: int
) -> Placed:
    key = (id(dataset), seed, spec.data.validation, spec.data.train_size, device, dtype)
    placed = _placed.get(key)
    if placed is None:
        read = _reader(dataset, workers)
        split = data.split(
            dataset, seed=seed, validation=spec.data.validation, train_size=spec.data.train_size, read=read
        )
        train, validation = (_examples(part, device, dtype, read) for part in (split.train, split.validation))
        placed = _placed[key] = Placed(dataset, split, train, validation, read)
    return placed


def _reader(dataset: Dataset, workers: int) -> data.Read:
    sources = [one for one in (dataset.train_inputs, dataset.test_inputs) if isinstance(one, data.OnDisk)]
    return data.Workers(sources, workers).read if sources else data.read_here


def _examples(part: data.Part, device: torch.device, dtype: torch.dtype, read: data.Read) -> Held:
    labels = part.labels.to(device)
    if isinstance(part.source, data.OnDisk):
        return Streamed(part, labels, dtype, read)
    return Examples(part.inputs.to(device, dtype), labels)


class TrainingData:
    """Training, validation and test examples of one split, the first in the order of one data-order seed.

    Examples that are on disk are read by so many `workers`; they end with the last training that uses the split.

    Raises:
        SpecError: The split's sizes or the batch do not fit the data set.
    """

    def __init__(
        self,
        spec: TrialSpec,
        seeds: Seeds,
        dataset: Dataset,
        device: torch.device,
        dtype: torch.dtype,
        *,
        workers: int = 1,
    ) -> None:
        self._placed = _place(spec, seeds.split, dataset, device, dtype, workers)
        self.train, self.validation = self._placed.train, self._placed.validation
        self.device, self.dtype = device, dtype
        self._seeds = seeds
        self._batch_size = spec.training.batch_size
        self._augment = data.augment([step.model_dump() for step in spec.training.augmentation])
        if self._batch_size > len(self.train):
            raise SpecError(
                [
                    Problem(
                        "training.batch_size",
                        f"{self._batch_size} is more than the {len(self.train)} training examples of "
                        f"{dataset.name}; allowed: 1 to {len(self.train)}",
                    )
                ]
            )

    @property
    def test(self) -> Held:
        """The test examples; placed when asked for, since that is at the end."""
        return _examples(self._placed.split.test, self.device, self.dtype, self._placed.read)

    @property
    def steps(self) -> int:
        """Batches an epoch, the last one as large as what is left."""
        return -(-len(self.train) // self._batch_size)

    def batches(self, epoch: int) -> Iterator[Examples]:
        """The batches of an epoch, counted from 1: an order of its own, the same however often it is asked for.

        Each epoch has its own generator, made from the seed and the epoch's number, so that there is no state to
        keep: a training that continues from epoch 7 sees what an undisturbed one sees.
        """
        generator = self._seeds.generator(f"order of epoch {epoch}", "data_order")
        order = torch.randperm(len(self.train), generator=generator).to(self.device)
        changes = self._seeds.generator(f"augmentation of epoch {epoch}", "data_order")
        for batch in self.train.take(order.split(self._batch_size)):
            yield Examples(self._augment(batch.inputs, changes), batch.labels)
