"""Settings of trials as columns of text beside a picture, so that its rows need no legend."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from sweeps.report.drawing import Drawing, Text, text_width
from sweeps.report.evidence import Evidence
from sweeps.report.words import shorten, value_text

LONGEST = 22


@dataclass(frozen=True)
class Columns:
    """Text by column: the trial's number, then each swept dimension.

    Attributes:
        titles: Above the columns.
        texts: Of each column, a text a row.
        widths: In pixels.
    """

    titles: list[str]
    texts: list[list[str]]
    widths: list[float]

    @classmethod
    def of(cls, evidence: Evidence, trials: pd.DataFrame) -> Columns:
        """Columns for some trials, a row each."""
        paths = {"number": "#"} | {path: short for path, short in evidence.dimensions.items() if path in trials}
        titles = [shorten(short, LONGEST) for short in paths.values()]
        texts = [[shorten(value_text(value), LONGEST) for value in trials[path]] for path in paths]
        widths = [
            max(text_width(text) for text in [title, *column]) + 10
            for title, column in zip(titles, texts, strict=True)
        ]
        return cls(titles, texts, widths)

    @property
    def width(self) -> float:
        """Of all columns together."""
        return sum(self.widths)

    def draw(self, drawing: Drawing, top: float, row: float) -> None:
        """Write the titles above `top` and each row in the middle of its slot of height `row`."""
        x = 4.0
        for title, column, width in zip(self.titles, self.texts, self.widths, strict=True):
            drawing.add(Text(x, top - 8, title, bold=True))
            colour = "ink" if title == "#" else "muted"
            drawing.add(
                *(Text(x, top + row * (k + 0.5) + 4, text, colour=colour) for k, text in enumerate(column))
            )
            x += width
