"""Shares of variance with seeds nested in configurations: on simulated truth, by hand, by likelihood."""

import numpy as np
import pytest

from sweeps.statistics.nested import share_intervals, strata_of
from sweeps.statistics.shares import nested_shares

GRID = {"width": np.repeat([0, 1, 2, 3], 2), "rule": np.tile([0, 1], 4)}


def drawn(generator, *, common=0.0, own=1.0, orders=1, order=0.0, rest=0.0, width=0.0, seeds=10):
    """Values of shape (8 configurations, seeds, orders), effects normal with these standard deviations."""
    normal = generator.standard_normal
    values = common * normal((1, seeds, 1)) + own * normal((8, seeds, 1)) + order * normal((8, 1, orders))
    values = values + rest * normal((8, seeds, orders)) + (width * normal(4))[GRID["width"], None, None]
    return values[:, :, 0] if orders == 1 else values


def table_of(values):
    """The same as columns: values, sources, dimensions."""
    places = np.indices(values.shape).reshape(values.ndim, -1)
    sources = dict(zip(["initialisation", "data_order"], places[1:], strict=False))
    return values.ravel(), sources, {name: code[places[0]] for name, code in GRID.items()}


def shares_of(findings):
    return {finding.details["factor"]: finding.estimate for finding in findings}


@pytest.mark.parametrize(("common", "own"), [(0.0, 1.0), (0.7, 0.7), (1.0, 0.1)])
def test_a_seed_that_matters_in_its_configuration_only_is_no_residual(common, own):
    """The initialisation is nearly all of the variance, whether its luck is common to configurations or not."""
    generator = np.random.default_rng(0)
    found = [shares_of(nested_shares(*table_of(drawn(generator, common=common, own=own)))) for _ in range(20)]
    assert np.mean([shares["initialisation"] for shares in found]) > 0.9
    assert all(sum(shares.values()) == pytest.approx(1) for shares in found)
    assert all("residual" not in shares for shares in found)


def test_one_source_is_the_pooled_variance_within_configurations():
    values = drawn(np.random.default_rng(1), common=0.5, width=1.0)
    findings = {f.details["factor"]: f for f in nested_shares(*table_of(values))}
    assert findings["initialisation"].details["variance"] == pytest.approx(values.var(axis=1, ddof=1).mean())
    assert list(findings) == ["initialisation", "width", "rule", "interactions"]


def test_crossed_sources_are_told_apart_within_configurations():
    generator = np.random.default_rng(2)
    truth = np.array([0.5**2 + 1.0**2, 0.5**2, 2.0**2, 0.0, 0.0, 0.7**2])
    strata = [
        strata_of(
            drawn(generator, common=0.5, own=1.0, order=0.5, rest=0.7, width=2.0, orders=4),
            ["initialisation", "data_order"],
            GRID,
        )
        for _ in range(300)
    ]
    assert strata[0].names == ["initialisation", "data_order", "width", "rule", "interactions", "residual"]
    means = np.mean([one.shares()[0] for one in strata], axis=0)
    assert means[[0, 1, 2, 5]] == pytest.approx(truth[[0, 1, 2, 5]], rel=0.1)
    assert (means[[3, 4]] < 0.1).all()


@pytest.mark.slow
def test_intervals_of_the_shares_cover():
    """Shares of initialisation, data order and residual, of an almost pure and of a mixed case."""
    generator = np.random.default_rng(3)
    for spreads in (
        {"common": 0.6, "own": 0.8, "order": 0.4, "rest": 0.5},
        {"own": 1.0, "order": 0.1, "rest": 0.1},
    ):
        parts = [
            spreads.get("common", 0) ** 2 + spreads["own"] ** 2,
            spreads["order"] ** 2,
            0.8**2,
            spreads["rest"] ** 2,
        ]
        truth = np.array(parts) / sum(parts)
        covered = []
        for seed in range(200):
            values = drawn(generator, orders=3, width=0.8, **spreads)
            low, high = share_intervals(strata_of(values, ["initialisation", "data_order"], GRID), 0.95, seed)
            covered.append(((low <= _placed(truth)) & (_placed(truth) <= high))[[0, 1, 2, 5]])
        assert (np.mean(covered, axis=0) > 0.91).all()


def _placed(truth):
    """Truth of initialisation, data order, width, rule, interactions, residual."""
    return np.array([truth[0], truth[1], truth[2], 0.0, 0.0, truth[3]])


def test_seeds_that_some_configuration_lacks_are_left_out_and_said():
    values, sources, dimensions = table_of(drawn(np.random.default_rng(4)))
    kept = ~((sources["initialisation"] == 3) & (dimensions["width"] == 2))
    cut = [part[kept] for part in (values, sources["initialisation"], *dimensions.values())]
    found = nested_shares(cut[0], {"initialisation": cut[1]}, dict(zip(dimensions, cut[2:], strict=True)))
    whole = sources["initialisation"] != 3
    without = nested_shares(
        values[whole],
        {"initialisation": sources["initialisation"][whole]},
        {name: code[whole] for name, code in dimensions.items()},
    )
    assert shares_of(found) == pytest.approx(shares_of(without))
    assert "Over the 9 of 10 initialisation seeds that every configuration finished." in found[0].sentence


def test_dimensions_that_make_no_grid_are_one():
    values, sources, dimensions = table_of(drawn(np.random.default_rng(5), width=1.0))
    random = {name: code * 10 + np.repeat(np.arange(8), 10) for name, code in dimensions.items()}
    assert list(shares_of(nested_shares(values, sources, random))) == ["initialisation", "configuration"]


def test_sources_that_vary_together_are_one():
    values, sources, dimensions = table_of(drawn(np.random.default_rng(6)))
    found = nested_shares(values, {**sources, "data_order": sources["initialisation"] + 5}, dimensions)
    assert found[0].details["factor"] == "initialisation and data_order"


@pytest.mark.slow
def test_the_likelihood_agrees_where_no_seed_is_common_to_all():
    values, sources, dimensions = table_of(drawn(np.random.default_rng(7), width=1.5))
    balanced = shares_of(nested_shares(values, sources, dimensions))
    apart = {"initialisation": sources["initialisation"] + 100 * dimensions["width"]}
    found = nested_shares(values, apart, dimensions)
    assert found[0].method.startswith("restricted maximum likelihood")
    assert found[0].interval is None
    assert shares_of(found)["initialisation"] == pytest.approx(balanced["initialisation"], abs=0.1)


@pytest.mark.parametrize(
    ("rows", "words"),
    [(slice(0, 2), "at least 3"), (slice(0, 10), "only initialisation varies"), ("equal", "values are equal")],
)
def test_bad_input_gives_a_sentence(rows, words):
    values, sources, dimensions = table_of(drawn(np.random.default_rng(8)))
    if rows == "equal":
        values, rows = np.ones_like(values), slice(None)
    cut = [{name: code[rows] for name, code in part.items()} for part in (sources, dimensions)]
    found = nested_shares(values[rows], *cut)
    assert all(words in finding.sentence and finding.estimate is None for finding in found)
