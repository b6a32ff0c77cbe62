r"""Tables and the methods paragraphs for a paper: LaTeX that needs the package `booktabs` and nothing else.

\input{tables}     % one table environment each, \label{tab:trials}, \label{tab:twins}, ...
\input{methods}
"""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.report.blocks import Paragraph, Section, Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "−": r"$-$",
    "→": r"$\to$",
    "≤": r"$\le$",
    "β": r"$\beta$",
    "σ": r"$\sigma$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "\u202f": r"\,",
    "\n": " ",
}


def escape(text: str) -> str:
    """Text that LaTeX sets as it is, whatever it holds; control characters become spaces."""
    return "".join(_ESCAPES.get(character, character if character.isprintable() else " ") for character in text)


def tables(sections: Sequence[Section]) -> str:
    """Every table of the sections, labelled by its section; the second of a section ends in `-2`."""
    found = []
    for section in sections:
        own = [block for block in section.blocks if isinstance(block, Table)]
        labels = [section.name if number == 1 else f"{section.name}-{number}" for number in range(1, len(own) + 1)]
        found += [_table(table, label) for table, label in zip(own, labels, strict=True)]
    return "\n".join(found)


def _table(table: Table, label: str) -> str:
    columns = "".join("r" if column.is_number else "l" for column in table.columns)
    lines = [
        r"\begin{table}",
        r"  \centering\small",
        rf"  \caption{{{escape(table.caption)}}}",
        rf"  \label{{tab:{label}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        _row([column.title for column in table.columns]),
        r"    \midrule",
        *(_row(row) for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    # A cell in braces, since one that begins with a bracket would be the argument of the row before.
    return "    " + " & ".join(f"{{{escape(cell)}}}" for cell in cells) + r" \\"


def paragraphs(section: Section) -> str:
    """Running text of a section, a paragraph each."""
    texts = [block for block in section.blocks if isinstance(block, Paragraph)]
    return "\n\n".join(_paragraph(text) for text in texts) + "\n"


def _paragraph(paragraph: Paragraph) -> str:
    opening = rf"\textbf{{{escape(paragraph.strong)}}} " if paragraph.strong else ""
    return opening + escape(paragraph.text)
