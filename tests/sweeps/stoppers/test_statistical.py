"""The statistical stopper keeps the best at its level, simulated."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.goal import statistic_of
from sweeps.stoppers import STOPPERS, Curve, Look
from sweeps.stoppers.statistical import look_epochs

EPOCHS, LOOKS = 12, 3
ENTRY = STOPPERS["statistical"]


def stopped(samples: np.ndarray, **options: object) -> set[int]:
    """Trials that are stopped, side by side; `samples` has shape (trials, EPOCHS, replicates)."""
    gone: dict[int, int] = {}
    for epoch in look_epochs(EPOCHS, 1, LOOKS):
        curves = {
            str(t): Curve(tuple(one[:epoch].mean(axis=1)), tuple(map(tuple, one[:epoch])))
            for t, one in enumerate(samples)
            if gone.get(t, epoch) >= epoch
        }
        for t in range(len(samples)):
            if t not in gone:
                others = {name: curve for name, curve in curves.items() if name != str(t)}
                look = Look(str(t), curves[str(t)], others, EPOCHS, len(samples))
                if ENTRY.function(look, **ENTRY.validate({"looks": LOOKS, **options})):
                    gone[t] = epoch
    return set(gone)


def drawn(generator: np.random.Generator, means: list[float], replicates: int = 5) -> np.ndarray:
    """Normal values with the means given, replicates shared by seed, epochs correlated."""
    shape = (len(means), EPOCHS, replicates)
    seed_effect = generator.standard_normal((1, 1, replicates))
    walk = generator.standard_normal(shape).cumsum(axis=1) / np.sqrt(np.arange(1, EPOCHS + 1))[:, None]
    return np.asarray(means)[:, None, None] + seed_effect + walk


@pytest.mark.slow
@pytest.mark.parametrize(("best", "means"), [(1, [0.0] * 6), (2, [3.0, *[0.0] * 5]), (2, [0.0] * 6)])
def test_a_trial_of_the_true_best_is_stopped_no_more_often_than_the_level_says(best, means):
    generator = np.random.default_rng(7)
    runs, level = 300, 0.8
    # Of equal means the first are called the best ones: the hardest case there is.
    wrong = sum(
        bool(stopped(drawn(generator, means), best=best, level=level) & set(range(best))) for _ in range(runs)
    )
    # Three standard errors of a proportion at the level itself.
    assert wrong / runs <= (1 - level) + 3 * np.sqrt(level * (1 - level) / runs)
    assert wrong > 0, "the simulation would notice nothing"


def test_what_is_plainly_worse_is_stopped_and_what_is_plainly_better_never():
    samples = drawn(np.random.default_rng(3), [60.0, 59.0, *[0.0] * 4])
    assert stopped(samples, best=2) == {2, 3, 4, 5}
    assert stopped(samples, best=6) == set()


def test_looks_are_inside_the_training_and_as_many_as_asked():
    assert look_epochs(20, 1, 3) == [5, 10, 15]
    assert look_epochs(20, 12, 3) == [12, 15]
    assert look_epochs(2, 1, 5) == [1]
    assert look_epochs(1, 1, 1) == []


def test_constant_differences_tell_nothing():
    one, two = np.full((EPOCHS, 5), 0.5), np.full((EPOCHS, 5), 0.4)
    assert stopped(np.stack([one, two])) == set()


def test_statistics_over_replicates_are_scipys():
    from scipy import stats

    values = [0.1, 0.4, 0.2, 0.35]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert statistic_of(values, "ci_low") == pytest.approx(low, abs=1e-12)
    assert statistic_of(values, "ci_high") == pytest.approx(high, abs=1e-12)
    assert statistic_of(values, "sd") == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert statistic_of(values, "median") == pytest.approx(np.median(values))
    assert np.isnan(statistic_of([0.1, np.nan], "mean"))
    assert np.isnan(statistic_of([0.1], "ci_low"))
    assert np.isnan(statistic_of([], "mean"))
