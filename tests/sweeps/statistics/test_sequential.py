import numpy as np
import pytest
from scipy import stats

from sweeps.statistics.samples import t_quantile
from sweeps.statistics.sequential import look_level, seeds_needed


def test_it_is_steins_rule():
    values = np.random.default_rng(0).standard_normal(8)
    finding = seeds_needed(values, width=0.5)
    expected = np.ceil((2 * stats.t.ppf(0.975, 7) * values.std(ddof=1) / 0.5) ** 2)
    assert finding.estimate == expected
    assert finding.details["more"] == expected - 8
    assert seeds_needed(values, width=100).estimate == 8
    assert "more than 20 seeds" in seeds_needed(values, width=0.1, most=20).sentence


def test_steins_interval_covers_exactly():
    generator = np.random.default_rng(1)
    first = generator.standard_normal((4000, 6))
    spread = first.std(axis=1, ddof=1)
    needed = np.maximum(6, np.ceil((2 * t_quantile(5, 0.95) * spread) ** 2)).astype(int)
    more = generator.standard_normal(4000) * np.sqrt(needed - 6.0)  # the sum of the seeds added
    means = (first.sum(axis=1) + more) / needed
    assert np.mean(np.abs(means) <= 0.5) >= 0.95 - 3 * (0.05 * 0.95 / 4000) ** 0.5


def test_looking_often_keeps_the_level():
    generator = np.random.default_rng(2)
    looks = range(5, 30, 5)
    values = generator.standard_normal((4000, 25))
    wrong = np.zeros(4000, dtype=bool)
    for n in looks:
        part = values[:, :n]
        half = t_quantile(n - 1, look_level(0.95, len(looks))) * part.std(axis=1, ddof=1) / n**0.5
        wrong |= np.abs(part.mean(axis=1)) > half
    assert wrong.mean() <= 0.05


@pytest.mark.parametrize("values", [[], [0.3], [0.3, 0.3, 0.3]])
def test_too_little_to_tell_is_said(values):
    finding = seeds_needed(values, width=0.1)
    assert finding.interval is None
    assert finding.sentence.endswith(".")
