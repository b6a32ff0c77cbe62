from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sweeps.data.synthetic import class_directions, planted, synthetic
from sweeps.errors import SpecError
from tests.sweeps.data.pixels import pixels


@st.composite
def classes_and_rank(draw: st.DrawFn) -> tuple[int, int]:
    classes = draw(st.integers(2, 12))
    if classes == 2:
        return 2, 1
    return classes, draw(st.integers(2, classes - 1).filter(lambda rank: classes % 2 == 0 or rank % 2 == 0))


@settings(deadline=None, max_examples=50)
@given(classes_and_rank())
def test_class_directions_are_distinct_unit_rows_with_equal_orthogonal_columns(pair: tuple[int, int]) -> None:
    classes, rank = pair
    rows = class_directions(classes, rank)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
    np.testing.assert_allclose(rows.T @ rows, classes / rank * np.eye(rank), atol=1e-12)
    gram = rows @ rows.T
    assert (gram[~np.eye(classes, dtype=bool)] < 1 - 1e-3).all()
    # One orthogonal map takes every row to the next: inner products depend on the difference of numbers only.
    np.testing.assert_allclose(np.roll(gram, (1, 1), axis=(0, 1)), gram, atol=1e-12)


@settings(deadline=None, max_examples=10)
@given(classes_and_rank())
def test_the_teacher_has_the_planted_rank_and_singular_values(pair: tuple[int, int]) -> None:
    classes, rank = pair
    truth = planted(classes=classes, rank=rank, train_examples=2000, test_examples=10)
    values = np.linalg.svd(truth.teacher, compute_uv=False)
    np.testing.assert_allclose(values[:rank], np.sqrt(classes / rank))
    np.testing.assert_allclose(values[rank:], 0, atol=1e-12)
    projected = truth.teacher @ truth.directions @ truth.directions.T
    np.testing.assert_allclose(projected, truth.teacher, atol=1e-12)


@pytest.mark.parametrize(("classes", "rank"), [(10, 4), (10, 9), (10, 3), (5, 2), (2, 1)])
def test_classes_are_equally_likely(classes: int, rank: int) -> None:
    dataset = synthetic(classes=classes, rank=rank, train_examples=40_000, noise=0.5, shape=(1, 4, 4))
    assert stats.chisquare(np.bincount(dataset.train_labels)).pvalue > 1e-4


def test_inputs_are_white_and_float32() -> None:
    dataset = synthetic(train_examples=20_000, shape=(2, 2, 3))
    assert dataset.train_inputs.dtype == np.float32
    assert dataset.shape == (2, 2, 3)
    covariance = np.cov(pixels(dataset.train_inputs).reshape(20_000, 12).T)
    np.testing.assert_allclose(covariance, np.eye(12), atol=5 * np.sqrt(2 / 20_000))


def test_without_noise_the_teacher_is_always_right() -> None:
    truth = planted(noise=0.0)
    assert truth.ceiling == 1
    scores = pixels(truth.dataset.train_inputs).reshape(2000, -1) @ truth.teacher.T
    np.testing.assert_array_equal(scores.argmax(axis=1), truth.dataset.train_labels)


@pytest.mark.parametrize("noise", [0.2, 1.0, 3.0])
def test_the_ceiling_of_two_classes_is_the_orthant_probability(noise: float) -> None:
    """Signal and noise of the score difference are N(0, 4) and N(0, 2 noise²): right when the sum has its sign."""
    examples = 100_000
    truth = planted(classes=2, rank=1, noise=noise, test_examples=examples, shape=(1, 1, 5))
    covariance = np.array([[4, 4], [4, 4 + 2 * noise**2]])
    expected = 2 * stats.multivariate_normal([0, 0], covariance).cdf([0, 0])
    assert truth.ceiling == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / examples))


def test_the_registered_set_is_the_planted_one() -> None:
    options: dict[str, Any] = {"classes": 4, "rank": 2, "noise": 0.3, "seed": 5, "train_examples": 100}
    assert synthetic(**options).fingerprint == planted(**options).dataset.fingerprint
    assert synthetic(seed=1).fingerprint != synthetic(seed=2).fingerprint


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"classes": 10, "rank": 10}, "2, 3, 4, 5, 6, 7, 8, 9"),
        ({"classes": 10, "rank": 1}, "2, 3, 4, 5, 6, 7, 8, 9"),
        ({"classes": 5, "rank": 3}, "2, 4"),
        ({"classes": 2, "rank": 2}, "1"),
        ({"classes": 10, "rank": 6, "shape": (1, 2, 2)}, "2, 3, 4"),
        ({"classes": 3, "rank": 2, "shape": (1, 1, 1)}, "none"),
    ],
)
def test_ranks_that_no_such_teacher_has(options: dict[str, Any], allowed: str) -> None:
    with pytest.raises(SpecError, match=f"data.rank: {options['rank']} is no rank of .*; allowed: {allowed}$"):
        synthetic(**options)
