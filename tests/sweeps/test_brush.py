"""Parallel coordinates to brush: one file, small, without a network, whose text stays text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from sweeps.pictures import brush

COLUMN = "validation_accuracy.mean"
HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "a\nb \x00",
    "x" * 10_000,
]


class Page(HTMLParser):
    """Elements of a page in their order: tag, attributes and the text that stands directly in them."""

    def __init__(self, text: str | None) -> None:
        super().__init__()
        assert text is not None
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        if self.elements:
            self.elements[-1][2].append(data)

    def texts(self, tag: str, **wanted: str) -> list[str]:
        return [
            "".join(said) for name, own, said in self.elements if name == tag and wanted.items() <= own.items()
        ]

    def rows(self) -> dict[str, tuple[list[str], list[float]]]:
        """By trial, in their order: the cells' texts and the places on the axes."""
        found: dict[str, tuple[list[str], list[float]]] = {}
        places: list[float] = []
        for tag, own, said in self.elements:
            if tag == "tr":
                places = [float(place) for place in (own.get("data-p") or "").split()]
            elif tag == "th" and own.get("scope") == "row":
                found["".join(said)] = ([], places)
            elif tag == "td":
                next(reversed(found.values()))[0].append("".join(said))
        return {name: ([text.strip() for text in texts], at) for name, (texts, at) in found.items()}


def many(trials: int, dimensions: int) -> tuple[pd.DataFrame, list[str]]:
    chance = np.random.default_rng(0)
    names = [f"training.a_rather_long_name_of_dimension_{number}" for number in range(dimensions)]
    columns = {name: chance.random(trials) * 10.0**number for number, name in enumerate(names)}
    ids = [f"{number:012x}" for number in range(trials)]
    return pd.DataFrame({"trial_id": ids, **columns, COLUMN: chance.random(trials)}), names


def test_a_thousand_trials_are_under_a_megabyte_without_any_address() -> None:
    table, names = many(1200, 14)
    text = brush.page(table, names, COLUMN, "Trials")
    page = Page(text)
    assert len(str(text).encode()) < 1_000_000
    best = table.sort_values(COLUMN, ascending=False)["trial_id"].head(1000)
    assert [name.strip() for name in page.rows()] == list(best)
    assert "200 worse trials are left out. 2 further dimensions are left out." in "".join(page.texts("p"))
    assert not [own for _, own, _ in page.elements if {"src", "href", "srcset", "action"} & set(own)]
    assert not re.search(r"@import|url\(", str(text))
    assert set(re.findall(r"https?://[^\"'\s]*", str(text))) == {"http://www.w3.org/2000/svg"}
    assert len(page.texts("path")) > 1000


def test_text_of_a_sweep_stays_text() -> None:
    columns = dict.fromkeys(("model.kind", *HOSTILE[:3]), HOSTILE)
    table = pd.DataFrame({"trial_id": HOSTILE, **columns, COLUMN: [0.5, 0.4, 0.3, 0.2, 0.1]})
    page = Page(brush.page(table, list(columns), COLUMN, HOSTILE[0]))
    [script] = page.texts("script")
    assert script.startswith('"use strict"')
    assert not page.texts("img")
    assert page.texts("h1")[0].strip() == HOSTILE[0]
    assert [text.strip() for text in page.texts("legend")[1:4]] == HOSTILE[:3]
    assert "{{ 7 * 7 }}" in page.rows()
    assert max(len(cell) for cells, _ in page.rows().values() for cell in cells) == brush.LONGEST


def test_values_lie_where_a_reader_looks_for_them() -> None:
    table = pd.DataFrame(
        {
            "trial_id": ["a", "b", "c", "d"],
            "lr": [0.001, 0.01, 0.1, None],
            "kind": ["relu", "tanh", "relu", "tanh"],
            "centred": [True, False, True, False],
            "same": 1.0,
            COLUMN: [0.9, 0.7, 0.8, None],
        }
    )
    page = Page(brush.page(table, ["lr", "kind", "centred", "same", "absent"], COLUMN, "Trials"))
    assert [text.strip() for text in page.texts("legend")] == ["lr", "kind", "centred", COLUMN]
    rows = page.rows()
    assert list(rows) == ["a", "c", "b"]
    places = {name: at for name, (_, at) in rows.items()}
    assert places["b"][0] == pytest.approx((places["a"][0] + places["c"][0]) / 2, abs=1e-3), "by ratios"
    assert places["a"][1] == places["c"][1] != places["b"][1]
    assert rows["a"][0][:3] == ["0.001", "relu", "true"]
    assert places["a"][3] > places["c"][3] > places["b"][3]


def test_less_is_better_where_it_is_and_what_is_missing_lies_below() -> None:
    table = pd.DataFrame({"trial_id": ["a", "b", "c"], "lr": [None, 1.0, 2.0], "validation_loss.mean": [3, 2, 1]})
    rows = Page(brush.page(table, ["lr"], "validation_loss.mean", "Trials")).rows()
    assert list(rows) == ["c", "b", "a"]
    assert rows["a"][1][0] == 0.0 < rows["b"][1][0] < rows["c"][1][0]
    assert rows["a"][0][0] == "—"


def test_nothing_to_compare_is_no_picture() -> None:
    table, names = many(3, 1)
    assert brush.page(table.head(1), names, COLUMN, "Trials") is None
    assert brush.page(table, ["absent"], COLUMN, "Trials") is None
