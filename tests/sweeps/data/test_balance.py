import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.data.balance import balanced_order, shuffled

sizes = st.lists(st.integers(2, 60), min_size=2, max_size=8)


def labels_of(counts: list[int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


@settings(deadline=None, max_examples=50)
@given(size=st.integers(0, 300), seed=st.integers(0, 2**40))
def test_shuffled_is_a_permutation(size: int, seed: int) -> None:
    assert sorted(shuffled(size, seed, "x")) == list(range(size))


def test_shuffled_never_changes() -> None:
    """The order is part of what a seed means: these were drawn when the function was written."""
    assert shuffled(8, 0, "validation").tolist() == [7, 5, 0, 3, 4, 2, 6, 1]


def test_seeds_and_purposes_give_unrelated_orders() -> None:
    orders = [shuffled(2000, seed, purpose) for seed in (0, 1) for purpose in ("validation", "train")]
    correlations = np.asarray(np.corrcoef(orders))[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)


def test_shuffled_is_uniform() -> None:
    """Every position is as likely: chi-square of where index 0 lands, 4 standard deviations from its mean."""
    places = np.array([int(np.flatnonzero(shuffled(8, seed, "x") == 0)[0]) for seed in range(4000)])
    chi_square = ((np.bincount(places, minlength=8) - 500) ** 2 / 500).sum()
    assert chi_square < 7 + 4 * np.sqrt(2 * 7)


@settings(deadline=None)
@given(counts=sizes, seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_every_class_is_on_both_sides(counts: list[int], seed: int, share: float) -> None:
    labels, classes = labels_of(counts, seed), len(counts)
    chosen = classes + round(share * (len(labels) - 2 * classes))
    order = balanced_order(labels, seed, "x")
    assert sorted(order) == list(range(len(labels)))
    assert len(set(labels[order[:chosen]])) == classes
    assert len(set(labels[order[chosen:]])) == classes


@settings(deadline=None)
@given(classes=st.integers(2, 8), each=st.integers(2, 40), seed=st.integers(0, 1000))
def test_equal_classes_differ_by_at_most_one_at_every_size(classes: int, each: int, seed: int) -> None:
    labels = labels_of([each] * classes, seed)
    running = np.cumsum(np.eye(classes, dtype=int)[labels[balanced_order(labels, seed, "x")]], axis=0)
    assert (running.max(axis=1) - running.min(axis=1)).max() <= 1


def test_unequal_classes_keep_their_proportions() -> None:
    labels = labels_of([700, 200, 100], seed=0)
    chosen = labels[balanced_order(labels, 0, "x")[:100]]
    assert np.abs(np.bincount(chosen) - [70, 20, 10]).max() <= 1
