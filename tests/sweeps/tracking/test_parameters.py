"""Values as MLflow's text and back."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sweeps.tracking.parameters import (
    PARAMETER_LENGTH,
    TAG_LENGTH,
    as_parameters,
    as_tags,
    configuration,
    decode,
    encode,
    storable,
    whole,
)

texts = st.text(max_size=30) | st.sampled_from(["1", "null", "true", "[1]", '"x"', "NaN", "1e5", " 1", "\ud83d"])
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


@given(values)
def test_a_value_comes_back_with_its_type(value: Any) -> None:
    back = decode(encode(value))
    assert back == value
    assert type(back) is type(value)


@given(values)
def test_every_database_takes_the_text(value: Any) -> None:
    text = encode(value)
    assert "\0" not in text
    assert text.encode() == text.encode("utf-8", "strict")


def test_plain_text_stays_readable() -> None:
    assert encode("mp_threshold") == "mp_threshold"
    assert encode([64, 64]) == "[64, 64]"


@given(st.integers(0, 3 * TAG_LENGTH), st.sampled_from("xü☃"))
def test_long_text_is_stored_whole_within_the_limits(length: int, letter: str) -> None:
    text = letter * length
    parameters, tags = as_parameters({"model.note": text})
    assert all(len(value) <= PARAMETER_LENGTH for value in parameters.values())
    assert all(len(value) <= TAG_LENGTH for value in tags.values())
    assert decode(whole("model.note", parameters["model.note"], tags)) == text
    tags = as_tags({"reason": text})
    assert all(len(value) <= TAG_LENGTH for value in tags.values())
    assert whole("reason", tags["reason"], tags) == text


def test_what_no_database_takes_is_escaped() -> None:
    assert storable("a\0b") == "a\\x00b"
    assert storable("\ud83d") == "\\ud83d"


def test_configuration_of_a_twin_says_nothing_of_pruning() -> None:
    config = {"model": {"kind": "mlp", "note": None}, "prune": {"rule": "none", "every": 4, "options": {}}}
    assert configuration(config, "twin") == {"model.kind": "mlp", "prune.rule": "none"}
    pruned = {"model.kind": "mlp", "prune.rule": "none", "prune.every": 4}
    assert configuration(json.loads(json.dumps(config)), "pruned") == pruned
