import numpy as np
import pytest
import torch

from sweeps.data import Dataset, InvalidData, check_split, split
from sweeps.data.digits import digits
from sweeps.errors import SpecError
from tests.sweeps.data.pixels import pixels


def tiny(counts: list[int], dtype: str = "f4", shape: tuple[int, int, int] = (2, 3, 3)) -> Dataset:
    """A set whose every example is told apart by its first value."""
    labels = np.repeat(np.arange(len(counts)), counts)
    random = np.random.default_rng(0)
    inputs = random.uniform(0, 255, (len(labels), *shape)).astype(dtype)
    inputs[:, 0, 0, 0] = np.arange(len(labels)) % 256
    return Dataset("tiny", inputs, labels, inputs[: len(counts)], np.arange(len(counts)), len(counts))


def test_parts_have_nothing_in_common_and_leave_nothing_out() -> None:
    parts = split(digits(), seed=3, validation=360)
    train, validation = set(parts.train.rows.tolist()), set(parts.validation.rows.tolist())
    assert train.isdisjoint(validation)
    assert train | validation == set(range(1437))
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1077, 360, 360)


def test_parts_hold_the_examples_of_their_rows() -> None:
    dataset = tiny([20, 30, 40], dtype="u1")
    parts = split(dataset, seed=0, validation=30)
    normalisation = parts.normalisation
    for part in (parts.train, parts.validation):
        restored = part.inputs[:, 0, 0, 0] * normalisation.sd[0] + normalisation.mean[0]
        np.testing.assert_allclose(restored, pixels(part.source)[part.rows, 0, 0, 0], atol=1e-3)
        np.testing.assert_array_equal(part.labels, np.searchsorted([20, 50, 90], part.rows, side="right"))
    assert parts.test.labels.tolist() == [0, 1, 2]


def test_every_part_is_class_balanced() -> None:
    dataset = digits()
    shares = np.bincount(dataset.train_labels) / len(dataset.train_labels)
    parts = split(dataset, seed=1, validation=200, train_size=500)
    for part in (parts.train, parts.validation):
        counts = np.bincount(part.labels.numpy())
        assert np.abs(counts - shares * len(part)).max() <= 1


def test_the_seed_decides_and_nothing_else() -> None:
    dataset = digits()
    first, again, other = (split(dataset, seed=seed, validation=360) for seed in (5, 5, 6))
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert torch.equal(first.validation.labels, again.validation.labels)
    assert first.validation.rows.tolist() != other.validation.rows.tolist()
    assert torch.equal(first.test.labels, other.test.labels)


def test_a_smaller_training_part_is_contained_in_a_larger_one_and_validated_alike() -> None:
    dataset = digits()
    small, large, whole = (split(dataset, seed=0, validation=360, train_size=size) for size in (50, 400, None))
    assert set(small.train.rows) < set(large.train.rows) < set(whole.train.rows)
    assert small.validation.rows.tolist() == whole.validation.rows.tolist()
    assert len(small.train) == 50


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_normalised_by_the_training_part_alone(dtype: str) -> None:
    dataset = tiny([30, 30], dtype=dtype)
    parts = split(dataset, seed=0, validation=20)
    assert parts.train.inputs.dtype == torch.float32
    chosen = dataset.train_inputs[parts.train.rows].astype(np.float64)
    np.testing.assert_allclose(parts.normalisation.mean, chosen.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(parts.normalisation.sd, chosen.std(axis=(0, 2, 3)))
    variance, mean = torch.var_mean(parts.train.inputs.double(), dim=(0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(variance, torch.ones(2, dtype=torch.float64), atol=1e-6, rtol=0)
    # One far outlier in what is held out must leave the training part's numbers alone.
    changed = pixels(dataset.train_inputs).copy()
    changed[parts.validation.rows] = 255
    other = Dataset("x", changed, dataset.train_labels, dataset.test_inputs, dataset.test_labels, 2)
    np.testing.assert_array_equal(split(other, seed=0, validation=20).normalisation.mean, parts.normalisation.mean)


def test_a_channel_that_never_varies_is_only_shifted() -> None:
    dataset = tiny([10, 10])
    flat = pixels(dataset.train_inputs).copy()
    flat[:, 1] = 7
    constant = Dataset("x", flat, dataset.train_labels, dataset.test_inputs, dataset.test_labels, 2)
    parts = split(constant, seed=0, validation=4)
    assert parts.normalisation.sd[1] == 1
    assert parts.train.inputs[:, 1].abs().max() == 0


def test_floats_exist_from_first_use_and_the_source_is_shared() -> None:
    dataset = digits()
    parts = split(dataset, seed=0, validation=360)
    assert "inputs" not in vars(parts.test)
    assert parts.test.source is dataset.test_inputs
    assert parts.test.inputs is parts.test.inputs


def test_float_inputs_that_no_single_precision_sum_would_survive() -> None:
    """A mean of 1e4 with a spread of 1e-2: one pass of sums of squares in float32 gives nonsense here."""
    random = np.random.default_rng(0)
    inputs = (1e4 + random.normal(0, 1e-2, (200, 1, 4, 4))).astype(np.float32)
    labels = np.arange(200) % 2
    dataset = Dataset("x", inputs, labels, inputs[:2], labels[:2], 2)
    parts = split(dataset, seed=0, validation=20)
    expected = inputs[parts.train.rows].astype(np.float64).std()
    assert parts.normalisation.sd[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("counts", "validation", "train_size", "message"),
    [
        ([50, 50], 100, None, "data.validation: 100 can not be held out: tiny has 100 .*; allowed: 2 to 98"),
        ([50, 50], 1000, None, "data.validation: 1000 can not"),
        ([50, 50], 99, None, "data.validation: 99 can not"),
        ([50, 50], 1, None, "data.validation: 1 can not"),
        ([50, 50], 0, None, "data.validation: 0 can not"),
        ([50, 50], 20, 81, r"data.train_size: 81 can not be .* 20 of them held out .*; allowed: 2 to 80"),
        ([50, 50], 20, 1, "data.train_size: 1 can not"),
        ([50, 1], 10, None, "data.kind: tiny has 51 .* but 1 of class 1; allowed: at least 2 of each class"),
    ],
)
def test_sizes_that_do_not_fit(counts: list[int], validation: int, train_size: int | None, message: str) -> None:
    dataset = tiny(counts)
    with pytest.raises(SpecError, match=message) as caught:
        split(dataset, seed=0, validation=validation, train_size=train_size)
    assert caught.value.problems == check_split(dataset, validation=validation, train_size=train_size)


@pytest.mark.parametrize(("validation", "train_size"), [(2, None), (98, None), (98, 2), (2, 2), (2, 98)])
def test_sizes_that_just_fit(validation: int, train_size: int | None) -> None:
    parts = split(tiny([50, 50]), seed=0, validation=validation, train_size=train_size)
    assert set(parts.train.labels.tolist()) == set(parts.validation.labels.tolist()) == {0, 1}


def test_a_class_of_the_test_part_alone_is_refused() -> None:
    with pytest.raises(InvalidData, match="no example of class 1"):
        Dataset("x", np.zeros((4, 1, 1, 1), "u1"), np.zeros(4, int), np.zeros((2, 1, 1, 1), "u1"), np.arange(2), 2)
