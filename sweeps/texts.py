"""Sections of trials as text, to tell which trials have something in common."""

from __future__ import annotations

from pydantic import BaseModel


class Texts:
    """JSON of sections; one that many trials share is written once."""

    def __init__(self) -> None:
        # By the section's own identity; each is kept, so that no number is given twice.
        self._known: dict[int, tuple[BaseModel, str]] = {}

    def __call__(self, section: BaseModel) -> str:
        """The section as JSON."""
        found = self._known.get(id(section))
        if found is None:
            found = self._known[id(section)] = (section, section.model_dump_json())
        return found[1]
