"""The examples of a training on their device, and the order in which they come."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

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


@dataclass(frozen=True, eq=False)
class Placed:
    """A split of a data set, its training and validation examples on the device."""

    dataset: Dataset
    split: data.Split
    train: Examples
    validation: Examples


# Stacks of a trial that share a split share its examples, for as long as one of them trains.
_placed: WeakValueDictionary[tuple[Hashable, ...], Placed] = WeakValueDictionary()


def _place(spec: TrialSpec, seed: int, dataset: Dataset, device: torch.device, dtype: torch.dtype) -> Placed:
    key = (id(dataset), seed, spec.data.validation, spec.data.train_size, device, dtype)
    placed = _placed.get(key)
    if placed is None:
        split = data.split(dataset, seed=seed, validation=spec.data.validation, train_size=spec.data.train_size)
        train, validation = (_examples(part, device, dtype) for part in (split.train, split.validation))
        placed = _placed[key] = Placed(dataset, split, train, validation)
    return placed


def _examples(part: data.Part, device: torch.device, dtype: torch.dtype) -> Examples:
    return Examples(part.inputs.to(device, dtype), part.labels.to(device))


class TrainingData:
    """Training, validation and test examples of one split, the first in the order of one data-order seed.

    Raises:
        SpecError: The split's sizes or the batch do not fit the data set.
    """

    def __init__(
        self, spec: TrialSpec, seeds: Seeds, dataset: Dataset, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._placed = _place(spec, seeds.split, dataset, device, dtype)
        self.train, self.validation = self._placed.train, self._placed.validation
        self._device, self._dtype = device, dtype
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
    def test(self) -> Examples:
        """The test examples; placed when asked for, since that is at the end."""
        return _examples(self._placed.split.test, self._device, self._dtype)

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
        order = torch.randperm(len(self.train), generator=generator).to(self.train.labels.device)
        changes = self._seeds.generator(f"augmentation of epoch {epoch}", "data_order")
        for rows in order.split(self._batch_size):
            yield Examples(self._augment(self.train.inputs[rows], changes), self.train.labels[rows])
