"""Numbers in tables: as many digits as the interval warrants."""

from __future__ import annotations

import math

import pandas as pd

from sweeps.statistics import wording

DASH = "—"


def plain(value: float | None, uncertainty: float | None = None) -> str:
    """A number, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    text = wording.number(abs(value), uncertainty)
    return f"−{text}" if value < 0 else text


def with_interval(row: pd.Series, metric: str) -> str:
    """`0.9345 ± 0.0021`: mean and half its 95 % interval; the mean alone where there is no interval."""
    mean = _number(row, f"{metric}.mean")
    low, high = _number(row, f"{metric}.ci_low"), _number(row, f"{metric}.ci_high")
    if mean is None:
        return DASH
    if low is None or high is None:
        return wording.number(mean)
    half = (high - low) / 2
    return f"{plain(mean, half)} ± {wording.number(half, half)}" if half > 0 else f"{wording.number(mean)} ± 0"


def statistic(row: pd.Series, column: str) -> str:
    """One number of a row to two significant digits, as spreads are given."""
    value = _number(row, column)
    return DASH if value is None else wording.number(value, value) if value else "0"


def _number(row: pd.Series, column: str) -> float | None:
    value = row.get(column)
    return None if value is None or pd.isna(value) else float(value)
