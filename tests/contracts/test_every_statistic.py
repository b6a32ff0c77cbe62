"""What holds of every registered statistic: registering one puts it here."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from sweeps.statistics import STATISTICS, Finding

GENERATOR = np.random.default_rng(11)
ARM, BASELINE = GENERATOR.standard_normal((2, 10)) * np.array([[0.6], [1.0]]) + 0.2
BITS = GENERATOR.random((8, 300)) < 0.8

# By trait `takes`: ordinary inputs, and inputs that no interval or test can be had from.
ORDINARY: dict[str, tuple[Any, ...]] = {
    "sample": (ARM,),
    "pairs": (ARM, BASELINE),
    "two_samples": (ARM, BASELINE[:7]),
    "bits": (BITS,),
    "counts": (2, 10),
    "two_counts": (2, 10, 7, 12),
    "p_values": ([0.01, 0.2, 0.03],),
    "blocks": (GENERATOR.standard_normal((6, 3)), ["a", "b", "c"]),
    "levels": (ARM[:9], {"initialisation": np.arange(9) // 3, "data_order": np.arange(9) % 3}),
    "nested": (ARM[:9], {"initialisation": np.arange(9) // 3}, {"width": np.arange(9) % 3}),
    "plan": (10,),
    "xy": (ARM, BASELINE),
}
NONE, ONE, SAME = np.empty(0), np.array([0.5]), np.full(8, 0.5)
DEGENERATE: dict[str, list[tuple[Any, ...]]] = {
    "sample": [(NONE,), (ONE,), (SAME,), (ARM[:2],), (ARM[:3],)],
    "pairs": [(NONE, NONE), (ONE, ONE), (SAME, SAME), (SAME, ARM[:8]), (ARM[:8], SAME), (ARM[:2], BASELINE[:2])],
    "two_samples": [(NONE, ARM), (ONE, ARM), (SAME, SAME), (SAME, ARM), (ARM, SAME), (ARM[:2], BASELINE[:2])],
    "bits": [(BITS[:1],), (np.ones((5, 20), dtype=bool),), (BITS[:2],)],
    "counts": [(0, 0), (0, 5), (5, 5)],
    "two_counts": [(0, 0, 0, 5), (0, 5, 0, 5)],
    "p_values": [(NONE,), ([1.0],), ([0.0],)],
    "blocks": [(np.ones((1, 2)), ["a", "b"]), (np.ones((5, 2)), ["a", "b"])],
    "levels": [
        (ONE, {"a": [0]}),
        (SAME, {"a": np.arange(8) % 2}),
        (ARM, {"a": np.arange(10)}),
        (ARM[:7], {"a": [0, 0, 0, 1, 1, 1, 1]}),
    ],
    "nested": [
        (ONE, {"a": [0]}, {"b": [0]}),
        (SAME, {"a": np.arange(8) // 2}, {"b": np.arange(8) % 2}),
        (ARM, {"a": np.arange(10)}, {}),
        (ARM[:7], {"a": [0, 0, 0, 1, 1, 1, 1]}, {"b": [0, 1, 2, 0, 1, 2, 0]}),
        (ARM[:6], {"a": [0, 1, 2, 3, 4, 5]}, {"b": [0, 0, 0, 1, 1, 1]}),
    ],
    "plan": [(0,), (1,), (2,), (3,)],
    "xy": [(NONE, NONE), (ONE, ONE), (SAME, ARM[:8]), (ARM[:8], SAME), (ARM, ARM)],
}


def ask(name: str, arguments: tuple[Any, ...], **options: Any) -> tuple[Finding, ...]:
    entry = STATISTICS[name]
    answer = entry.function(*arguments, **(dict(entry.traits.get("example", {})) | options))
    return answer if isinstance(answer, tuple) else (answer,)


def numbers(value: Any) -> list[float]:
    if isinstance(value, Mapping):
        return [x for item in value.values() for x in numbers(item)]
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in numbers(item)]
    return [float(value)] if isinstance(value, (int, float)) else []


def check(finding: Finding, name: str) -> None:
    assert finding.statistic == name
    assert all(math.isfinite(x) for x in numbers(finding.to_dict()))
    assert json.loads(json.dumps(finding.to_dict()))["sentence"] == finding.sentence
    assert finding.sentence[0].strip()
    assert finding.sentence.endswith(".")
    assert "nan" not in finding.sentence.lower().split()
    assert finding.method
    if finding.p is not None:
        assert 0 <= finding.p <= 1
    if finding.interval is not None:
        assert finding.interval.low <= finding.interval.high
        assert 0 < finding.interval.level < 1


@pytest.mark.parametrize("name", STATISTICS)
def test_it_declares_what_it_takes_and_answers_and_says_what_it_is(name):
    entry = STATISTICS[name]
    assert entry.traits["takes"] in ORDINARY
    assert entry.traits["question"]
    assert entry.summary.endswith(".")


@pytest.mark.parametrize("name", STATISTICS)
def test_it_answers_ordinary_data_in_full(name):
    for finding in ask(name, ORDINARY[STATISTICS[name].traits["takes"]]):
        check(finding, name)
        assert finding.estimate is not None
        assert finding.n > 0


@pytest.mark.parametrize("name", STATISTICS)
def test_it_answers_degenerate_data_with_a_sentence(name):
    for arguments in DEGENERATE[STATISTICS[name].traits["takes"]]:
        for finding in ask(name, arguments):
            check(finding, name)


@pytest.mark.parametrize("name", STATISTICS)
def test_it_gives_the_same_answer_twice_and_leaves_its_input_alone(name):
    arguments = ORDINARY[STATISTICS[name].traits["takes"]]
    before = json.dumps(arguments, default=lambda x: x.tolist())
    assert ask(name, arguments) == ask(name, arguments)
    assert json.dumps(arguments, default=lambda x: x.tolist()) == before


@pytest.mark.parametrize("name", STATISTICS)
def test_its_options_are_validated_and_its_example_is_valid(name):
    entry = STATISTICS[name]
    complete = entry.validate(entry.traits.get("example", {}))
    if "level" in complete:
        with pytest.raises(ValueError, match="level"):
            entry.validate({**entry.traits.get("example", {}), "level": 1.5})


@pytest.mark.parametrize("name", [n for n in STATISTICS if "level" in STATISTICS[n].options.model_fields])
def test_a_higher_level_widens_the_interval(name):
    arguments = ORDINARY[STATISTICS[name].traits["takes"]]
    for low, high in zip(ask(name, arguments, level=0.8), ask(name, arguments, level=0.99), strict=True):
        if low.interval and high.interval:
            assert high.interval.low <= low.interval.low
            assert high.interval.high >= low.interval.high


SEEDED: Mapping[str, Callable[[tuple[Any, ...], np.ndarray], tuple[Any, ...]]] = {
    "sample": lambda arguments, order: (arguments[0][order],),
    "pairs": lambda arguments, order: tuple(x[order] for x in arguments),
    "xy": lambda arguments, order: tuple(x[order] for x in arguments),
}


@pytest.mark.parametrize("name", [n for n in STATISTICS if STATISTICS[n].traits["takes"] in SEEDED])
def test_the_order_of_seeds_does_not_matter(name):
    arguments = ORDINARY[STATISTICS[name].traits["takes"]]
    shuffled = SEEDED[STATISTICS[name].traits["takes"]](arguments, np.random.default_rng(0).permutation(10))
    for one, other in zip(ask(name, arguments), ask(name, shuffled), strict=True):
        assert one.estimate == pytest.approx(other.estimate, rel=1e-9)
        # Bootstraps draw other resamples of the same seeds: equal up to their own error.
        tolerance = 0.1 if "bootstrap" in one.method else 1e-9
        if one.interval and other.interval:
            assert one.interval.low == pytest.approx(other.interval.low, rel=tolerance, abs=tolerance)


def assert_alike(one: float | None, other: float | None) -> None:
    assert (one is None) == (other is None)
    if one is not None:
        assert one == pytest.approx(other, rel=1e-6)


def with_trait(trait: str) -> list[str]:
    return [name for name in STATISTICS if STATISTICS[name].traits.get(trait)]


@pytest.mark.parametrize("name", with_trait("antisymmetric"))
def test_swapping_the_arms_turns_the_sign_and_keeps_p(name):
    (there,), (back,) = ask(name, (ARM, BASELINE)), ask(name, (BASELINE, ARM))
    assert there.estimate == pytest.approx(-(back.estimate or 0), rel=1e-9)
    assert_alike(there.p, back.p)
    if there.interval and back.interval:
        assert there.interval.low == pytest.approx(-back.interval.high, rel=1e-9)


@pytest.mark.parametrize("name", with_trait("reciprocal"))
def test_swapping_the_arms_inverts_a_ratio_and_keeps_p(name):
    (there,), (back,) = ask(name, (ARM, BASELINE)), ask(name, (BASELINE, ARM))
    assert there.estimate == pytest.approx(1 / (back.estimate or 1), rel=1e-9)
    assert_alike(there.p, back.p)


@pytest.mark.parametrize(
    "name", [n for n in STATISTICS if STATISTICS[n].traits["takes"] in ("pairs", "two_samples")]
)
def test_units_of_the_metric_do_not_change_a_p_value(name):
    arguments = ORDINARY[STATISTICS[name].traits["takes"]]
    example = STATISTICS[name].traits.get("example", {})
    options = {key: 100 * value for key, value in example.items() if key == "margin"}
    (one,), (other,) = ask(name, arguments), ask(name, tuple(100 * x + 7 for x in arguments), **options)
    assert_alike(one.p, other.p)
    assert_alike(one.effect, other.effect)
