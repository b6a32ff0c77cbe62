"""MNIST and Fashion-MNIST, from IDX files."""

from __future__ import annotations

import numpy as np

from sweeps.data.dataset import DATASETS, Dataset
from sweeps.data.idx import read_idx
from sweeps.data.places import Published

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MNIST = Published("mnist", "MNIST", ("MNIST/raw", "mnist"), FILES)
FASHION = Published(
    "fashion_mnist", "FashionMNIST", ("FashionMNIST/raw", "fashion-mnist"), FILES, "dataset-fashion-mnist"
)


@DATASETS.register(version=1, location=("root",), files=MNIST.find, download=MNIST.download)
def mnist(*, root: str | None = None) -> Dataset:
    """70,000 handwritten digits of 28 × 28 pixels, 10,000 of them for the test.

    `root` is a folder with the four IDX files, plain or gzipped, or one in torchvision's layout.
    """
    return _read(MNIST, root)


@DATASETS.register(version=1, location=("root",), files=FASHION.find, download=FASHION.download)
def fashion_mnist(*, root: str | None = None) -> Dataset:
    """70,000 pieces of clothing of 28 × 28 pixels, 10,000 of them for the test (arXiv:1708.07747).

    `root` is a folder with the four IDX files, plain or gzipped, or one in torchvision's layout.
    """
    return _read(FASHION, root)


def _read(published: Published, root: str | None) -> Dataset:
    arrays = [
        read_idx(path, dimensions)
        for path, dimensions in zip(published.find(root=root), (3, 1, 3, 1), strict=True)
    ]
    train_images, train_labels, test_images, test_labels = arrays
    return Dataset(
        published.name,
        train_images[:, None],
        train_labels.astype(np.int64),
        test_images[:, None],
        test_labels.astype(np.int64),
        classes=10,
    )
