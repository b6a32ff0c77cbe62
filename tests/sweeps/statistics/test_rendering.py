import io
import json

import pandas as pd
import pytest

from sweeps.statistics import compare, presentable, render


@pytest.fixture
def answer(sweep_table):
    table = sweep_table(widths=("[64]", "[128]"))
    table.loc[table["model.widths"] == "[64]", "status"] = "diverged"
    return compare(table, factor="prune.rule", baseline="none")


def test_people_read_rounded_numbers_with_their_error(answer):
    text = presentable(answer)
    assert list(text.columns[:2]) == ["model.widths", "arm"]
    row = text.iloc[-1]
    assert " ± " in row["mean"]
    assert row["difference"][0] in "+−"
    assert row["variance ratio"].endswith("]")
    assert not text.map(lambda value: "nan" in value.lower() or "<NA>" in value).any(axis=None)


def test_csv_keeps_every_column_at_full_precision(answer):
    again = pd.read_csv(io.StringIO(render(answer, "csv")))
    assert list(again.columns) == list(answer.columns)
    assert again["difference"].iloc[-1] == pytest.approx(answer["difference"].iloc[-1], rel=1e-15)


def test_json_has_null_where_there_is_no_number_and_says_how_it_was_computed(answer):
    document = json.loads(render(answer, "json"))
    assert document["rows"][0]["mean"] is None
    assert document["rows"][-1]["mean"] == answer["mean"].iloc[-1]
    assert document["correction"] == "Holm"
    assert document["columns"]["group"] == ["model.widths"]


@pytest.mark.parametrize("style", ["table", "markdown"])
def test_lines_are_aligned(answer, style):
    lines = render(answer, style).splitlines()
    assert len(lines) == 2 + len(answer)
    start = lines[0].index("arm")
    assert all(line[start:].startswith(("arm", "---", "none", "mp_threshold")) for line in lines)


def test_latex_escapes_what_it_must(answer):
    text = render(answer, "latex")
    assert r"mp\_threshold" in text
    assert r"$\pm$" in text
    assert text.startswith(r"\begin{tabular}{lll")
    assert text.count(r" \\") == 1 + len(answer)
