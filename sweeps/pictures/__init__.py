"""Still pictures for where a person clicks in MLflow, drawn once a sweep has ended and away from any training.

matplotlib without pyplot and without global state; colours are those of the report. Each function takes plain
tables and arrays and returns a `Figure`; `png` turns one into the bytes of a file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeps.report.palette import PALETTE

TEXT, SMALL = 9.0, 7.5
DPI = 110
COLOURS = {name: shades.light for name, shades in PALETTE.items()}
CYCLE = tuple(COLOURS[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky", "ink"))
STYLES = ("-", "--", "-.", ":")


def canvas(title: str, rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 4.2) -> Figure:
    """A figure of so many inches, with `rows` × `columns` axes in it."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.subplots(rows, columns, squeeze=False)
    figure.suptitle(plain(title), fontsize=TEXT + 2)
    for axes in figure.axes:
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def label(axes: Axes, across: str, up: str, title: str = "") -> None:
    """Names of the axes; text is never read as mathematics."""
    axes.set_xlabel(plain(across), fontsize=TEXT)
    axes.set_ylabel(plain(up), fontsize=TEXT)
    axes.set_title(plain(title), fontsize=TEXT)


def plain(text: str, longest: int = 80) -> str:
    """A text that matplotlib draws as it is: dollars escaped, no control characters, an end to its length."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    shown = shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
    return shown.replace("$", r"\$")


def legend(axes: Axes, entries: int) -> None:
    """A legend while it can be read."""
    if 0 < entries <= 12:
        axes.legend(fontsize=SMALL, frameon=False)


def style(number: int) -> tuple[str, str]:
    """Colour and dashes of the n-th line: what matters also differs in its dashes."""
    return CYCLE[number % len(CYCLE)], STYLES[(number // len(CYCLE)) % len(STYLES)]


def spread(items: Sequence[object], most: int) -> list[int]:
    """Positions of at most `most` items, evenly over all of them, first and last included."""
    count = len(items)
    if count <= most:
        return list(range(count))
    return sorted({round(place * (count - 1) / (most - 1)) for place in range(most)})


def png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": ""})
    return content.getvalue()
