"""Colours by name, for light and for dark paper: Okabe–Ito hues, lightened where dark paper needs it.

Pictures name colours and never hold values, so that one picture follows the reader's colour scheme
(`svg.py` writes CSS variables) and prints in the light values (`paper.py`).

Source of the hues: Okabe and Ito, Color Universal Design (2008), distinguishable with any colour vision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Shades(NamedTuple):
    """One colour on light and on dark paper, `#rrggbb`."""

    light: str
    dark: str


PALETTE: Mapping[str, Shades] = {
    "paper": Shades("#ffffff", "#14171c"),
    "ink": Shades("#1a1c1f", "#e9e7e2"),
    "muted": Shades("#5b6067", "#a2a8b1"),
    "grid": Shades("#e4e5e7", "#2b3038"),
    "blue": Shades("#0072b2", "#58aee8"),
    "vermillion": Shades("#d55e00", "#f0853a"),
    "green": Shades("#009e73", "#2fc39a"),
    "purple": Shades("#b0568a", "#d98fb8"),
    "sky": Shades("#3796c9", "#8fd0f4"),
    "orange": Shades("#b97f00", "#e9ad2b"),
}


def variables(scheme: str) -> str:
    """CSS declarations of all colours for `scheme`, which is "light" or "dark"."""
    return "".join(f"--{name}:{getattr(shades, scheme)};" for name, shades in PALETTE.items())


def classes() -> str:
    """CSS rules of the classes that `svg.py` uses: `s-NAME` strokes and `f-NAME` fills with a colour."""
    return "".join(f".s-{n}{{stroke:var(--{n})}}.f-{n}{{fill:var(--{n})}}" for n in PALETTE)
