"""Orders of examples in which every beginning holds the classes in their proportions."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def shuffled(size: int, seed: int, purpose: str) -> NDArray[np.int64]:
    """A permutation of `range(size)`, the same on every machine and with every version of numpy.

    Examples are sorted by raw output of a counter-based bit generator, whose stream numpy promises to keep;
    it makes no such promise for its `permutation`. Seed and purpose are hashed together, so that streams of
    different purposes are unrelated.
    """
    digest = hashlib.sha256(f"split:{seed}:{purpose}".encode()).digest()
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "big"))
    return np.argsort(generator.random_raw(size), kind="stable").astype(np.int64)


def balanced_order(labels: NDArray[np.int64], seed: int, purpose: str) -> NDArray[np.int64]:
    """A seeded order whose first n examples are a class-balanced choice, for every n.

    The k-th example of a class of size s comes at (k - 1/2) / s (the divisor method of Webster and
    Sainte-Laguë), with two exceptions: the first of each class come before all others, and the last of each
    class after all others. Where both a choice and what it leaves have at least as many examples as there are
    classes, both therefore hold every class (of two examples or more).

    Args:
        labels: (N,) classes from 0.
        seed: Decides which examples of a class come first.
        purpose: What the order is for; another purpose gives an unrelated order.

    Returns:
        (N,) indices into `labels`.
    """
    mixed = shuffled(len(labels), seed, purpose)
    classes = labels[mixed]
    sizes = np.bincount(classes)
    by_class = np.argsort(classes, kind="stable")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = sizes[classes]
    position = (rank + 0.5) / size
    position[rank == size - 1] = 2.0
    position[rank == 0] = 0.0
    return mixed[np.argsort(position, kind="stable")]
