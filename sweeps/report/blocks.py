"""What a page is made of: paragraphs, figures, tables, foldable listings. The template knows how each looks."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeAlias

import pandas as pd
from markupsafe import Markup

from sweeps.report.drawing import Drawing
from sweeps.report.svg import to_svg

PLAIN_LIMIT = 200_000  # bytes of CSV beyond which it is compressed: a page stays under 5 MB with 10,000 replicates
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Download(NamedTuple):
    """A file inside the page: a `data:` address and the name it is saved under."""

    address: str
    filename: str


@dataclass(frozen=True)
class Paragraph:
    """Running text; `strong` opens it in bold, a `lead` is set larger."""

    text: str
    strong: str = ""
    lead: bool = False
    kind: ClassVar[str] = "paragraph"


class Card(NamedTuple):
    """One number of an answer, with what it says."""

    title: str
    number: str
    interval: str
    text: str


@dataclass(frozen=True)
class Cards:
    """Numbers side by side."""

    cards: Sequence[Card]
    kind: ClassVar[str] = "cards"


@dataclass(frozen=True)
class Figure:
    """A picture with what a reader should see in it."""

    drawing: Drawing
    caption: str
    kind: ClassVar[str] = "figure"

    @property
    def svg(self) -> Markup:
        """The picture as inline SVG."""
        return to_svg(self.drawing)


class Column(NamedTuple):
    """A heading; numbers are set to the right, `note` explains it on hovering and to screen readers."""

    title: str
    is_number: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text, the first cell of each heading its row."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    download: Download | None = None
    kind: ClassVar[str] = "table"


class Entry(NamedTuple):
    """One line of a listing, with text to unfold."""

    title: str
    text: str


@dataclass(frozen=True)
class Listing:
    """Entries that unfold, such as tracebacks."""

    entries: Sequence[Entry]
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Facts:
    """Names with values."""

    pairs: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Downloads:
    """Links to files inside the page, each with what it holds."""

    files: Sequence[tuple[Download, str]]
    kind: ClassVar[str] = "downloads"


Block: TypeAlias = Paragraph | Cards | Figure | Table | Listing | Facts | Downloads


@dataclass(frozen=True)
class Section:
    """A part of the page; `name` is its anchor."""

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def csv_download(name: str, frame: pd.DataFrame) -> Download:
    """A table as CSV inside the page, gzipped when it is large (pandas and R read `.csv.gz` as it is).

    Text that a spreadsheet would take for a formula is prefixed with an apostrophe, since reasons and names may
    come from anywhere.
    """
    texts = frame.select_dtypes(exclude=["number", "bool"]).columns
    safe = (
        frame.assign(**{str(column): frame[column].map(_no_formula) for column in texts}) if len(texts) else frame
    )
    data = safe.to_csv(index=False).encode()
    if len(data) <= PLAIN_LIMIT:
        return Download(f"data:text/csv;charset=utf-8;base64,{base64.b64encode(data).decode()}", f"{name}.csv")
    packed = base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
    return Download(f"data:application/gzip;base64,{packed}", f"{name}.csv.gz")


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
