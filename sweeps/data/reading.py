"""Inputs that stay on disk until they are wanted, and the worker processes that read them ahead.

What a training sees of them is what it would see of the same inputs in memory, example by example: the order is
asked for from outside, and workers give what they read back in that order.
"""

from __future__ import annotations

import multiprocessing
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sweeps.errors import SweepError

Images: TypeAlias = NDArray[Any]  # (N, C, H, W), uint8 or float32
Rows: TypeAlias = NDArray[np.int64]  # (n,)


class OnDisk(ABC):
    """Inputs of a data set by description: small to keep and to send, read where and when rows are asked for."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Of a pixel."""

    @abstractmethod
    def __getitem__(self, rows: Rows) -> Images:
        """Read these examples.

        Raises:
            InvalidData: One of them can not be read; it is named.
        """

    @property
    def ndim(self) -> int:
        """Four, as of an array of images."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]


Inputs: TypeAlias = Images | OnDisk
Read: TypeAlias = Callable[[Inputs, Iterable[Rows]], Iterator[Images]]


def read_here(source: Inputs, batches: Iterable[Rows]) -> Iterator[Images]:
    """The examples of each batch of rows, read in this process."""
    for rows in batches:
        yield source[rows]


class Workers:
    """Worker processes of a `DataLoader` that read batch after batch; they end with this object.

    They are started on first use and kept from one call of `read` to the next. They come from a fork server: a
    process that has threads, as Ray's have, is not safe to fork. As always with multiprocessing, a script that
    trains has to do so under `if __name__ == "__main__":`.

    Args:
        sources: What can be read.
        count: Of the processes; no more than this process may use processors.
    """

    def __init__(self, sources: Sequence[OnDisk], count: int) -> None:
        from torch import Generator
        from torch.utils.data import DataLoader

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, "torch.utils.data"])
        self._sources = list(sources)
        self._order: list[tuple[int, Rows]] = []
        self._turn = 0
        self._loader: DataLoader[Any] = DataLoader(
            _Pages(self._sources),  # type: ignore[arg-type]  # all it needs of a Dataset is `__getitem__`
            batch_size=None,
            sampler=_Sampler(self._order),
            collate_fn=_as_it_is,
            num_workers=max(1, min(count, len(os.sched_getaffinity(0)))),
            persistent_workers=True,
            multiprocessing_context=context,
            generator=Generator(),  # else it would draw from the one that trainings use
        )

    def read(self, source: Inputs, batches: Iterable[Rows]) -> Iterator[Images]:
        """The examples of each batch of rows, in the order given; some batches are read ahead.

        Raises:
            InvalidData: An example can not be read.
            RuntimeError: It is gone on with after another reading has begun.
        """
        place = next(place for place, one in enumerate(self._sources) if one is source)
        self._order[:] = [(place, rows) for rows in batches]
        self._turn = turn = self._turn + 1
        for found in self._loader:
            if turn != self._turn:
                raise RuntimeError("workers read one sequence of batches at a time, and another one has begun")
            if isinstance(found, SweepError):
                raise type(found)(*found.args)  # `found` itself would hold this frame, and the workers with it
            yield found


class _Pages:
    """What a worker holds: the sources, asked for rows of one of them."""

    def __init__(self, sources: Sequence[OnDisk]) -> None:
        self._sources = sources

    def __getitem__(self, page: tuple[int, Rows]) -> Images | SweepError:
        place, rows = page
        try:
            return self._sources[place][rows]
        except SweepError as error:
            return error


class _Sampler:
    """Hands out a list that is changed between epochs; workers that are kept ask for it again at each."""

    def __init__(self, order: list[tuple[int, Rows]]) -> None:
        self._order = order

    def __iter__(self) -> Iterator[tuple[int, Rows]]:
        return iter(list(self._order))


def _as_it_is(images: Any) -> Any:
    """Arrays go through a pipe; tensors would go through shared memory, of which containers have little."""
    return images
