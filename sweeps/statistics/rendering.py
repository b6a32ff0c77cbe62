"""A comparison as text: for a terminal, a paper, a spreadsheet or another program."""

from __future__ import annotations

import json
from typing import Any, Literal

import pandas as pd

from sweeps.statistics import wording
from sweeps.statistics.cells import cell
from sweeps.statistics.comparison import shown

Format = Literal["table", "json", "csv", "latex", "markdown"]

LATEX_ESCAPES = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "−": "$-$",
        "×": r"$\times$",
    }
)


def presentable(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns people read, as text: n, mean ± half-width, sd, difference, variance ratio, p, verdict.

    Rates of diverged and dead networks are always there, with their exact intervals. Spreads without collapsed
    replicates have columns where some collapsed, those in excess of the test set's where
    correctness is known.
    """
    groups = list(frame.attrs["columns"]["group"])
    broken, known = bool((frame["n_collapsed"] > 0).any()), bool(frame["excess_sd"].notna().any())
    return pd.DataFrame(
        {
            **{name: [shown(cell(value)) for value in frame[name]] for name in groups},
            "arm": frame["arm"],
            "n": frame["n"].astype(str),
            "diverged [rate]": [_rate(row, "divergence_rate", row["n_diverged"]) for _, row in frame.iterrows()],
            "dead [rate]": [_rate(row, "dead_rate", row["n_dead"]) for _, row in frame.iterrows()],
            "collapsed": frame["n_collapsed"].astype(str),
            "mean": [_give_or_take(row, "mean") for _, row in frame.iterrows()],
            "sd": [_ratio(row, "sd") for _, row in frame.iterrows()],
            **_optional(frame, "sd without collapsed", "sd_healthy", broken),
            **_optional(frame, "sd beyond test set", "excess_sd", known, ends=True),
            **_optional(frame, "the same without collapsed", "excess_sd_healthy", broken and known),
            "difference": [_interval(row, "difference") for _, row in frame.iterrows()],
            "p": [_p_value(row["p_difference_corrected"]) for _, row in frame.iterrows()],
            **_equivalence(frame),
            "effect": ["" if value is pd.NA else wording.signed(value, 0.1) for value in frame["effect"]],
            "P(better)": ["" if value is pd.NA else f"{value:.2f}" for value in frame["better"]],
            "variance ratio": [_ratio(row, "variance_ratio") for _, row in frame.iterrows()],
            **_optional(frame, "ratio without collapsed", "variance_ratio_healthy", broken),
            **_optional(frame, "ratio beyond test set", "excess_ratio", known),
            "p (variances)": [_p_value(row["p_variances_corrected"]) for _, row in frame.iterrows()],
            "detectable ratio": [_detectable(row) for _, row in frame.iterrows()],
            "verdict": frame["verdict"],
        }
    )


def _optional(
    frame: pd.DataFrame, title: str, name: str, wanted: bool, ends: bool = False
) -> dict[str, list[str]]:
    """A column of spreads, or none."""
    if not wanted:
        return {}
    if ends:
        return {title: [_ratio(row, name) for _, row in frame.iterrows()]}
    return {title: ["" if value is pd.NA else wording.ratio(value) for value in frame[name]]}


def _rate(row: pd.Series, name: str, count: Any) -> str:
    """`2 [0.025, 0.56]`: a count, and the exact interval of the rate; a dash where it is not known."""
    if count is pd.NA:
        return "—"
    if row[name] is pd.NA:
        return str(count)
    return f"{count} [{row[f'{name}_low']:.2g}, {row[f'{name}_high']:.2g}]"


def _equivalence(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The p values of equivalence, where a margin was stated."""
    margin = frame.attrs["margin"]
    if margin is None:
        return {}
    return {f"p (within ±{margin:g})": [_p_value(p) for p in frame["p_equivalence_corrected"]]}


def render(frame: pd.DataFrame, style: Format = "table") -> str:
    """The comparison in one of five formats; csv and json hold every column with full precision."""
    if style == "csv":
        return frame.to_csv(index=False)
    if style == "json":
        rows = [{name: _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]
        return json.dumps({"rows": rows, **frame.attrs}, indent=2, ensure_ascii=False, default=str)
    text = presentable(frame)
    if style == "latex":
        return _latex(text)
    if style == "markdown":
        lines = aligned(text, " | ", rule=True)
        return "\n".join(f"| {line} |" for line in lines)
    return "\n".join(line.rstrip() for line in aligned(text, rule=True))


def aligned(text: pd.DataFrame, between: str = "  ", *, rule: bool = False) -> list[str]:
    """Header and rows of a table of text as lines, columns under each other; a `rule` after the header."""
    grid = _rows(text)
    widths = [max(len(row[i]) for row in grid) for i in range(len(text.columns))]
    lines = [between.join(value.ljust(width) for value, width in zip(row, widths, strict=True)) for row in grid]
    return [lines[0], between.join("-" * width for width in widths), *lines[1:]] if rule else lines


def _rows(text: pd.DataFrame) -> list[list[str]]:
    """Header and rows of a table of text."""
    body = [[str(value) for value in row] for row in text.itertuples(index=False)]
    return [[str(name) for name in text.columns], *body]


def _latex(text: pd.DataFrame) -> str:
    rows = _rows(text)
    head, *body = [" & ".join(value.translate(LATEX_ESCAPES) for value in row) + r" \\" for row in rows]
    columns = "l" * len(text.columns)
    return "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\hline", head, r"\hline", *body, r"\hline", r"\end{tabular}"]
    )


def _plain(value: Any) -> Any:
    return cell(value)


def _give_or_take(row: pd.Series, name: str) -> str:
    if row[name] is pd.NA:
        return ""
    if row[f"{name}_low"] is pd.NA:
        return wording.number(row[name])
    half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
    return f"{wording.number(row[name], half)} ± {wording.number(half, half)}"


def _interval(row: pd.Series, name: str) -> str:
    if row[name] is pd.NA:
        return ""
    if row[f"{name}_low"] is pd.NA:
        return wording.signed(row[name])
    half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
    low, high = (wording.signed(row[f"{name}_{end}"], half) for end in ("low", "high"))
    return f"{wording.signed(row[name], half)} [{low}, {high}]"


def _ratio(row: pd.Series, name: str) -> str:
    if row[name] is pd.NA:
        return ""
    value = wording.ratio(row[name])
    if row[f"{name}_low"] is pd.NA:
        return value
    return f"{value} [{wording.ratio(row[f'{name}_low'])}, {wording.ratio(row[f'{name}_high'])}]"


def _p_value(p: Any) -> str:
    return "" if p is pd.NA else wording.p_value(p).removeprefix("p ").removeprefix("= ")


def _detectable(row: pd.Series) -> str:
    if row["detectable_ratio"] is not pd.NA:
        return wording.ratio(row["detectable_ratio"])
    return "none" if row["n_pairs"] is not pd.NA else ""
