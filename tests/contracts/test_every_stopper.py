"""What every stopper promises, whichever it is: registering one puts it under test."""

import math

import numpy as np
import pytest

from sweeps.stoppers import STOPPERS, Curve, Look

OPTIONS = {"target": {"value": 0.95}}
EPOCHS = 27
RIVALS = [[0.5 + 0.01 * trial + 0.01 * epoch for epoch in range(EPOCHS)] for trial in range(9)]


def curve(scores):
    noise = np.random.default_rng(round(1000 * scores[0])).normal(0, 0.01, (len(scores), 5))
    return Curve(tuple(scores), tuple(tuple(s + n) for s, n in zip(scores, noise, strict=True)))


def verdict(name, scores, *, rivals=RIVALS, trial="mine", **options):
    entry = STOPPERS[name]
    others = {f"rival {number}": curve(one) for number, one in enumerate(rivals)}
    look = Look(trial, curve(scores), others, epochs=EPOCHS, trials=10)
    return entry.function(look, **entry.validate(OPTIONS.get(name, {}) | options))


def first_stop(name, scores, **given):
    """The earliest under ten names, which a stopper may draw lots by."""
    trials = [f"trial {number}" for number in range(10)]
    epochs = range(1, EPOCHS)
    return next((e for e in epochs if any(verdict(name, scores[:e], trial=t, **given) for t in trials)), None)


BAD = [0.1] * EPOCHS
GOOD = [0.8 + 0.001 * epoch for epoch in range(EPOCHS)]
DIVERGED = [0.9, *[-math.inf] * (EPOCHS - 1)]


@pytest.mark.parametrize("name", [name for name in STOPPERS if name != "target"])
def test_a_trial_that_never_learns_is_stopped_and_told_why(name):
    epoch = first_stop(name, BAD)
    assert epoch is not None
    reasons = [verdict(name, BAD[:epoch], trial=f"trial {number}") for number in range(10)]
    reason = next(reason for reason in reasons if reason)
    assert "0.1" in reason or f"epoch {epoch}" in reason


@pytest.mark.parametrize("name", list(STOPPERS))
def test_the_best_trial_that_still_gains_is_never_stopped(name):
    assert first_stop(name, GOOD) is None


@pytest.mark.parametrize("name", [name for name in STOPPERS if name != "target"])
def test_a_diverged_trial_counts_as_worst(name):
    assert first_stop(name, DIVERGED) is not None


@pytest.mark.parametrize("name", list(STOPPERS))
def test_the_first_trial_of_all_is_not_stopped_for_being_alone(name):
    assert first_stop(name, GOOD, rivals=[]) is None


@pytest.mark.parametrize("name", [name for name in STOPPERS if "grace" in STOPPERS[name].options.model_fields])
def test_nothing_is_stopped_in_the_period_of_grace(name):
    bad = [0.99] * EPOCHS if name == "target" else BAD
    assert (first_stop(name, bad, grace=9) or math.inf) >= 9


@pytest.mark.parametrize("name", list(STOPPERS))
def test_asked_again_it_says_the_same(name):
    for scores in (BAD, GOOD, DIVERGED):
        assert [verdict(name, scores[:e]) for e in range(1, EPOCHS)] == [
            verdict(name, scores[:e]) for e in range(1, EPOCHS)
        ]


@pytest.mark.parametrize("name", list(STOPPERS))
def test_it_says_what_it_is(name):
    assert STOPPERS[name].summary
