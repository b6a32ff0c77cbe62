import numpy as np
import pytest

from sweeps.planning import make_plan
from sweeps.planning_power import Detectable, detectable
from sweeps.spec import build_spec
from sweeps.statistics.paired import paired_difference


def plan(seeds, **more):
    spec = {
        "name": "power",
        "space": {"prune.aggressiveness": {"grid": [0.25, 0.5, 0.75]}},
        "replicates": {"initialisation": seeds, **more},
    }
    return make_plan(build_spec(spec), lambda data: "fingerprint")


def sizes(found: Detectable) -> tuple[float, float]:
    assert found.difference is not None
    assert found.ratio is not None
    return found.difference, found.ratio


def test_a_larger_family_sees_less_and_more_seeds_see_more():
    one, family = detectable(plan(10))
    assert (one.comparisons, family.comparisons) == (1, 3)
    assert family.level == pytest.approx(1 - 0.05 / 3)
    more = detectable(plan(30))[0]
    assert sizes(more) < sizes(one) < sizes(family)
    assert sizes(one)[1] < sizes(family)[1]
    assert "all 3 comparisons with a twin" in family.line()


def test_the_difference_is_found_in_four_experiments_of_five():
    one, _ = detectable(plan(10))
    generator = np.random.default_rng(0)
    baseline = generator.normal(size=(2000, 10))
    arms = np.add(baseline, generator.normal(sizes(one)[0], 1.0, (2000, 10)))
    found = [paired_difference(arm, base).interval for arm, base in zip(arms, baseline, strict=True)]
    assert np.mean([interval is not None and interval.low > 0 for interval in found]) == pytest.approx(
        0.8, abs=0.03
    )  # three standard errors


def test_the_unit_is_the_initialisation_seed():
    assert detectable(plan(6, data_order=3))[0].seeds == 6
    assert detectable(plan(1, data_order=3, split=2))[0].seeds == 3
    most = detectable(plan(5, until={"interval": 0.01, "max": 20}))
    assert [one.seeds for one in most] == [5, 5, 20, 20]


def test_too_few_seeds_show_nothing():
    one, _ = detectable(plan(1))
    assert (one.difference, one.ratio) == (None, None)
    assert "no difference in means and no ratio of variances" in one.line()
