"""A planted low-rank teacher: data whose signal, noise and best possible accuracy are known.

The model. Inputs x are white, N(0, 1) in each of the d = channels·height·width features. A teacher of rank k
scores the K classes, and the label is the class of the highest score:

    score = A Bᵀ x + noise · ε,    ε ~ N(0, I_K),    label = argmax score

B (d × k) has orthonormal columns, drawn once. The rows of A (K × k) are unit vectors spread evenly: row c holds
cos(2πjc/K) and sin(2πjc/K) for j = 1 .. ⌊k/2⌋ (and (-1)^c / √2 when k is odd), times √(2/k). From this follows:

- each score's signal has standard deviation 1, so `noise` is the ratio of noise to signal;
- an orthogonal map of the k signal coordinates takes row c to row c + 1 (pair j turns by 2πj/K, the last
  coordinate of an odd k changes sign), and x and ε are isotropic: every class has probability 1/K exactly;
- AᵀA = (K/k) I (characters of Z_K are orthogonal): the teacher has k singular values √(K/k), and no other;
- the noise of the scores being independent and equal, argmax A Bᵀ x is the best guess there is (a higher score
  is the likelier maximum): what it reaches on the test part is the ceiling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from sweeps.data.dataset import DATASETS, Dataset, Labels
from sweeps.errors import Problem, SpecError

Positive = Annotated[int, Ge(1)]


@dataclass(frozen=True, eq=False)
class Planted:
    """A synthetic data set together with the truth behind it.

    Attributes:
        dataset: What `synthetic` gives for the same options.
        directions: (d, k) B, orthonormal columns: the subspace of the inputs that carries the signal.
        teacher: (K, d) A Bᵀ, of rank k.
        noise: Standard deviation of the scores' noise, where that of their signal is 1.
        clean_train_labels: (N,) what the teacher alone says.
        clean_test_labels: (M,) the same for the test part.
    """

    dataset: Dataset
    directions: NDArray[np.float64]
    teacher: NDArray[np.float64]
    noise: float
    clean_train_labels: Labels
    clean_test_labels: Labels

    @property
    def ceiling(self) -> float:
        """Test accuracy of the best possible classifier, in 0..1."""
        return float(np.mean(self.clean_test_labels == self.dataset.test_labels))


@DATASETS.register(version=1)
def synthetic(
    *,
    train_examples: Positive = 2000,
    test_examples: Positive = 1000,
    shape: tuple[Positive, Positive, Positive] = (1, 8, 8),
    classes: Annotated[int, Ge(2)] = 10,
    rank: Positive = 4,
    noise: Annotated[float, Ge(0)] = 0.1,
    seed: Annotated[int, Ge(0)] = 0,
) -> Dataset:
    """White inputs labelled by a planted teacher of low rank, of any size.

    Args:
        train_examples: Validation is held out of these.
        test_examples: A test part of its own.
        shape: Channels, height and width of an input.
        classes: How many; all are equally likely.
        rank: Of the teacher: 1 for two classes, else 2 to `classes` - 1, and even where `classes` is odd.
        noise: Of the teacher's scores, as a share of their signal's standard deviation; 0 for none.
        seed: Draws teacher, inputs and noise.
    """
    return planted(
        train_examples=train_examples,
        test_examples=test_examples,
        shape=shape,
        classes=classes,
        rank=rank,
        noise=noise,
        seed=seed,
    ).dataset


def planted(
    *,
    train_examples: int = 2000,
    test_examples: int = 1000,
    shape: tuple[int, int, int] = (1, 8, 8),
    classes: int = 10,
    rank: int = 4,
    noise: float = 0.1,
    seed: int = 0,
) -> Planted:
    """The data set that `synthetic` gives for the same options, with the truth behind it.

    Raises:
        SpecError: The rank is not one that the classes and features allow.
    """
    features = math.prod(shape)
    _check_rank(rank, classes, features)
    generator = np.random.default_rng(seed)
    directions = np.linalg.qr(generator.standard_normal((features, rank)))[0]
    corners = class_directions(classes, rank)
    parts = []
    for examples in (train_examples, test_examples):
        inputs = generator.standard_normal((examples, features), dtype=np.float32)
        clean = inputs @ directions @ corners.T
        noisy = clean + noise * generator.standard_normal(clean.shape)
        parts.append((inputs.reshape(examples, *shape), noisy.argmax(axis=1), clean.argmax(axis=1)))
    (train, train_labels, clean_train), (test, test_labels, clean_test) = parts
    dataset = Dataset("synthetic", train, train_labels, test, test_labels, classes)
    return Planted(dataset, directions, corners @ directions.T, noise, clean_train, clean_test)


def class_directions(classes: int, rank: int) -> NDArray[np.float64]:
    """(classes, rank) A: unit rows in a cycle of one orthogonal map; orthogonal columns of equal length."""
    number = np.arange(classes)
    angles = 2 * np.pi / classes * np.outer(number, np.arange(1, rank // 2 + 1))
    columns = [np.cos(angles), np.sin(angles)]
    if rank % 2:
        columns.append((-1.0) ** number[:, None] / np.sqrt(2))
    return np.hstack(columns) * np.sqrt(2 / rank)


def _check_rank(rank: int, classes: int, features: int) -> None:
    step = 1 if classes % 2 == 0 else 2
    allowed = [1] if classes == 2 else list(range(2, classes, step))
    allowed = [value for value in allowed if value <= features]
    if rank not in allowed:
        choices = ", ".join(map(str, allowed)) or "none"
        where = f"a teacher of {classes} equally likely classes on {features} features"
        raise SpecError([Problem("data.rank", f"{rank} is no rank of {where}; allowed: {choices}")])
