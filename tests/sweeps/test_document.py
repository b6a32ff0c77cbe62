import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.document import assign, flatten, parse, render, split
from sweeps.errors import SpecError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff"), max_size=12
    )
)
keys = st.text("abcdefgh_", min_size=1, max_size=6)
documents = st.recursive(
    st.dictionaries(keys, scalars, max_size=4),
    lambda inner: st.dictionaries(keys, inner | scalars | st.lists(scalars | inner, max_size=3), max_size=4),
    max_leaves=12,
)


@given(documents)
def test_what_is_rendered_is_read_back(document):
    assert parse(render(document)) == document


def test_yaml_1_2_reads_off_as_text_and_exponents_as_numbers():
    assert parse("a: off\nb: 1e-3\nc: 5.0e-6\nd: yes\ne: true\nf: .5\ng: 10\nh: 2024-01-01") == {
        "a": "off", "b": 0.001, "c": 5e-6, "d": "yes", "e": True, "f": 0.5, "g": 10, "h": "2024-01-01",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "not readable YAML"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: 1\na: 2", "the key a stands twice"),
        ("a: {b: 1, b: 2}", "the key b stands twice"),
    ],
)
def test_unreadable_text_says_where(text, message):
    with pytest.raises(SpecError, match=message) as raised:
        parse(text, source="sweep.yaml")
    assert str(raised.value).startswith("sweep.yaml")
    assert "line" in str(raised.value)


def test_assign_copies_and_makes_mappings_on_the_way():
    document = {"a": {"b": 1}}
    assert assign(document, "a.c.d", [1]) == {"a": {"b": 1, "c": {"d": [1]}}}
    assert document == {"a": {"b": 1}}


def test_assign_through_a_scalar_names_the_place():
    with pytest.raises(SpecError, match=r"a\.b\.c: a\.b is 1, not a mapping"):
        assign({"a": {"b": 1}}, "a.b.c", 2)


def test_keys_of_the_space_stay_whole():
    assert split("space.training.optimiser.lr") == ["space", "training.optimiser.lr"]
    assert split("trial.training.epochs") == ["trial", "training", "epochs"]


def test_flatten_keeps_lists_and_empty_mappings():
    assert flatten({"a": {"b": [1, 2], "c": {}}, "d": None}) == {"a.b": [1, 2], "a.c": {}, "d": None}
