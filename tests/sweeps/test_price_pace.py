import numpy as np
import pytest

from sweeps.price_pace import Pace, Shapes, observed, total
from sweeps.trial_spec import TrialSpec


def record(**changes):
    return {"epochs": 10, "wall_seconds": 20.0, "started": 1, "measure_seconds": 0.0, **changes}


def test_a_pace_is_of_the_epochs_that_were_trained():
    whole = observed([record(), record()])
    assert whole == pytest.approx(20 / 20)
    forked = {"forked_from": {"trial_id": "twin", "epoch": 8}, "wall_seconds": 4.0}
    assert observed([record(**forked), record(**forked)]) == pytest.approx(whole)
    assert observed([record(forked_from={"epoch": 10})]) is None


def test_replicates_of_another_launch_come_on_top():
    assert observed([record(), record(started=2)]) == pytest.approx(40 / 20)
    assert observed([record(measure_seconds=5.0), record(measure_seconds=5.0)]) == pytest.approx(10 / 20)


def test_one_observation_gives_no_interval():
    assert total([Pace((2.0,)).of([(1, 3)])]) == (6.0, None)
    assert total([Pace((2.0, 2.0)).of([(1, 3)])]) == (6.0, (6.0, 6.0))
    both = [Pace((2.0, 3.0)).of([(1, 1)]), Pace((2.0,)).of([(1, 1)])]
    assert total(both)[1] is None


@pytest.mark.parametrize("each", ["trial", "epoch"])
def test_the_interval_covers_sums_to_come(each):
    """Simulated: two shapes, few observations of each, trials of unequal length."""
    generator = np.random.default_rng(0)
    work, covered, runs = ([(5, 10), (5, 20), (2, 10)], [(3, 7)] * 4), 0, 4000
    for _ in range(runs):
        terms, truth = [], 0.0
        for mean, sd, n, some in ((1.0, 0.2, 4, work[0]), (3.0, 0.3, 6, work[1])):
            terms.append(Pace(tuple(generator.normal(mean, sd, n)), each).of(some))
            for replicates, epochs in some:
                paces = generator.normal(mean, sd, 1 if each == "trial" else epochs)
                truth += replicates * epochs * paces.mean()
        _, interval = total(terms)
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    # Satterthwaite's degrees of freedom hold a nominal 95 % to a point or two with so few observations.
    assert 0.93 <= covered / runs <= 0.97


def test_shapes_tell_apart_what_decides_the_pace():
    shapes, default = Shapes(), TrialSpec()
    longer = default.model_copy(update={"training": default.training.model_copy(update={"epochs": 30})})
    larger = default.model_copy(update={"training": default.training.model_copy(update={"batch_size": 64})})
    assert shapes(default) == shapes(longer) != shapes(larger)
    assert shapes(default) != shapes(default.twin)
