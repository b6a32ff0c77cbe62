"""A report against the tables it was made from: what they give again, to the letter, and what they can not give.

Pictures of spectra and learning curves, tracebacks and provenance come from records, which a bundle does not hold;
everything else on the page follows from its tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Sections that come from records, by name.
FROM_RECORDS = ("inside", "provenance")
NOT_REBUILT = "spectra and learning curves, tracebacks, provenance and the date"
_SECTION = re.compile(r'<section id="([^"]*)".*?</section>', re.DOTALL)
_TRACEBACKS = re.compile(r"<details>.*?</details>\n?", re.DOTALL)
_NUMBERED = re.compile(r"\b(Figure|Table) \d+\b")
_DATE = re.compile(r'(<p class="summary">.*), [^,<]*</p>')
_TAGS = re.compile(r"<[^>]*>")
SHOWN = 160


def differences(stated: str, computed: str) -> Iterator[str]:
    """Where a page is not the one that was made again, a sentence each: the section and what it says first.

    Args:
        stated: The page as it is.
        computed: The page made again from the tables, without records.
    """
    ours, theirs = _sections(stated), _sections(computed)
    for name in dict.fromkeys([*ours, *theirs]):
        if name in FROM_RECORDS and name in ours:
            continue
        if ours.get(name) != theirs.get(name):
            yield f"section {name!r}: {_first_difference(ours.get(name, ''), theirs.get(name, ''))}"
    if _around(stated) != _around(computed):
        yield f"outside its sections: {_first_difference(_around(stated), _around(computed))}"


def _sections(page: str) -> dict[str, str]:
    """Sections by name, without tracebacks and numbers of figures and tables, which count those left out."""
    found = {match[1]: match[0] for match in _SECTION.finditer(page)}
    return {name: _NUMBERED.sub(r"\1", _TRACEBACKS.sub("", text)) for name, text in found.items()}


def _around(page: str) -> str:
    """What is in no section: style, title, contents; without the date."""
    return _DATE.sub(r"\1</p>", _SECTION.sub("", page))


def _first_difference(stated: str, computed: str) -> str:
    """The first line of text in which two pieces of a page differ, or that it is in what is drawn."""
    if not stated or not computed:
        return "missing" if not stated else "not what the tables give: there is no such section"
    one, other = (_lines(text) for text in (stated, computed))
    for first, second in zip([*one, ""], [*other, ""], strict=False):
        if first != second:
            return f"stated {_around_change(first, second)!r}; computed {_around_change(second, first)!r}"
    return "a picture, a file to download or hidden text is not what the tables give"


def _lines(text: str) -> list[str]:
    return [line for raw in text.splitlines() if (line := _TAGS.sub(" ", raw).strip())]


def _around_change(text: str, other: str) -> str:
    """A line from a little before where it begins to differ."""
    same = next(
        (i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other))
    )
    begin = max(0, same - SHOWN // 2)
    return text[begin : begin + SHOWN]
