"""The embedded default: scikit-learn's digits, which need no download."""

from __future__ import annotations

import numpy as np

from sweeps.data.balance import balanced_order
from sweeps.data.dataset import DATASETS, Dataset

TEST_EXAMPLES = 360
TEST_SEED = 0


@DATASETS.register(version=1)
def digits() -> Dataset:
    """1,797 handwritten digits of 8 × 8 pixels, comes with scikit-learn.

    Pixels are counts from 0 to 16 and stay uint8. The set has no test part of its own: 360 class-balanced
    examples, chosen once and for all, are set aside as one (UCI "Optical recognition of handwritten digits").
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = balanced_order(labels, TEST_SEED, "test")
    test, train = np.sort(order[:TEST_EXAMPLES]), np.sort(order[TEST_EXAMPLES:])
    return Dataset("digits", images[train], labels[train], images[test], labels[test], classes=10)
