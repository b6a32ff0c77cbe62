"""One HTML file that answers a sweep's question: opens from disk, loads nothing, runs nothing.

Pictures are drawn by a small SVG writer of our own (`drawing`, `scales`, `panel`, `svg`) and not by matplotlib.
What decided it: text stays text and colours are CSS variables, so that one picture serves light, dark and paper,
carries a title and a description for screen readers and a tooltip on every trial; the pictures of 24 trials take
100 kB; thousands of points become one mask that still follows the colour scheme. What matplotlib is better at is
files for a paper: `paper` draws the same primitives with it, as PDF or PNG.

What is shown comes from tables and functions given by the caller; findings from `sweeps.statistics`. Each section
is a function of the evidence (`sections`, pictures in `figures`), and `document` puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from sweeps.report.evidence import Reader

__all__ = ["write", "write_paper"]


def write(
    storage: Path,
    sweep: str,
    *,
    table: pd.DataFrame,
    trials: pd.DataFrame,
    plan: Mapping[str, Any],
    spectra: Reader,
    histories: Reader,
    to: Path,
    correct: Mapping[str, NDArray[np.bool_]] | None = None,
    margin: float | None = None,
) -> Path:
    """Write a sweep's report; while the sweep runs, of what is recorded so far, marked partial.

    Args:
        storage: Root of the storage; records are read for provenance and tracebacks only.
        sweep: Name of the sweep.
        table: A row a replicate, as `sweeps.replicates` gives it.
        trials: A row a trial, as `sweeps.trials` gives it.
        plan: `plan.json`.
        spectra: (trial id, replicate id) to the arrays of `spectra.npz`; empty, or an OSError, without any.
        histories: (trial id, replicate id) to the rows of `history.jsonl`; the same.
        to: The file to write, whole or not at all.
        correct: By replicate id, whether it was right on each test example; without it no spread beyond what a
            finite test set alone gives is shown.
        margin: Difference of means that is none in practice: equivalence within it is tested and shown.

    Returns:
        `to`.
    """
    from sweeps.report.document import Tables, document
    from sweeps.storage import write_atomically

    tables = Tables(storage, sweep, table, trials, plan, spectra, histories, correct, margin=margin)
    write_atomically(to, document(tables))
    return to


def write_paper(
    storage: Path,
    sweep: str,
    *,
    table: pd.DataFrame,
    trials: pd.DataFrame,
    plan: Mapping[str, Any],
    spectra: Reader,
    histories: Reader,
    to: Path,
    correct: Mapping[str, NDArray[np.bool_]] | None = None,
    formats: Sequence[str] = ("pdf", "png"),
    margin: float | None = None,
) -> list[Path]:
    """Write the report's tables, methods and pictures as files for a paper; arguments as those of `write`.

    Args:
        to: Folder for the files; made if need be.
        formats: Endings of the pictures, each "pdf" or "png".

    Returns:
        `tables.tex`, `methods.tex`, and the pictures named after what they show: `size.pdf`, `forest.pdf`, ...
    """
    from sweeps.report.blocks import Figure
    from sweeps.report.document import Tables, sections_of
    from sweeps.report.latex import paragraphs, tables
    from sweeps.report.paper import save
    from sweeps.storage import write_atomically

    to.mkdir(parents=True, exist_ok=True)
    material = Tables(storage, sweep, table, trials, plan, spectra, histories, correct, margin=margin)
    sections = sections_of(material)
    methods = next(section for section in sections if section.name == "methods")
    texts = {to / "tables.tex": tables(sections), to / "methods.tex": paragraphs(methods)}
    for path, text in texts.items():
        write_atomically(path, text)
    drawings = [block.drawing for section in sections for block in section.blocks if isinstance(block, Figure)]
    return [
        *texts,
        *(save(drawing, to / f"{drawing.name}.{ending}") for drawing in drawings for ending in formats),
    ]
