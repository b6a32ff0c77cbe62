import numpy as np
from sklearn.datasets import load_digits

from sweeps.data.digits import digits


def test_train_and_test_are_scikit_learns_images_each_once() -> None:
    dataset, bunch = digits(), load_digits()
    images = np.concatenate([dataset.train_inputs, dataset.test_inputs])[:, 0]
    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    ours = sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
    theirs = zip(bunch.images.astype(np.uint8), bunch.target, strict=True)
    assert ours == sorted((image.tobytes(), int(label)) for image, label in theirs)


def test_the_test_part_is_class_balanced_and_never_changes() -> None:
    dataset = digits()
    assert dataset.test_inputs.shape == (360, 1, 8, 8)
    assert set(np.bincount(dataset.test_labels)) <= {35, 36, 37}
    assert dataset.fingerprint == "e2024be6c1325a5b7ddcf3f228f7305f289210cdfe01ce0c4e3ccff25d5fe885"
