"""The embedded default: scikit-learn's digits, which need no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sweeps.data.balance import balanced_order
from sweeps.data.dataset import DATASETS, Dataset
from sweeps.errors import DataNotFound

TEST_EXAMPLES = 360
TEST_SEED = 0


@DATASETS.register(version=1)
def digits() -> Dataset:
    """1,797 handwritten digits of 8 × 8 pixels, comes with scikit-learn.

    Pixels are counts from 0 to 16 and stay uint8. The set has no test part of its own: 360 class-balanced
    examples, chosen once and for all, are set aside as one (UCI "Optical recognition of handwritten digits").
    """
    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)
    images, labels = table[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8), table[:, -1].copy()
    order = balanced_order(labels, TEST_SEED, "test")
    test, train = np.sort(order[:TEST_EXAMPLES]), np.sort(order[TEST_EXAMPLES:])
    return Dataset("digits", images[train], labels[train], images[test], labels[test], classes=10)


def _file() -> Path:
    """Where scikit-learn keeps them, found without importing it: that takes longer than all else of a small plan.

    Raises:
        DataNotFound: It is not installed, or not with its data.
    """
    package = find_spec("sklearn")
    folders = package.submodule_search_locations if package else None
    files = [path for folder in folders or () if (path := Path(folder, "datasets/data/digits.csv.gz")).is_file()]
    if not files:
        raise DataNotFound("the digits come with scikit-learn, which is not installed with its data sets")
    return files[0]
