"""Sections of trials as text, to tell which trials have something in common."""

from __future__ import annotations

from pydantic import BaseModel


class Texts:
    """JSON of sections; those that many trials share are written once."""

    def __init__(self) -> None:
        # By the sections' own identities; they are kept, so that no number is given twice.
        self._known: dict[tuple[int, ...], tuple[tuple[BaseModel, ...], str]] = {}

    def __call__(self, *sections: BaseModel) -> str:
        """The sections as JSON, one after another."""
        key = tuple(map(id, sections))
        found = self._known.get(key)
        if found is None:
            text = " ".join(section.model_dump_json() for section in sections)
            found = self._known[key] = (sections, text)
        return found[1]
