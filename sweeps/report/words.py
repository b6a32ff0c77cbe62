"""Names and values as a reader would say them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def metric_words(metric: str) -> str:
    """`test_accuracy` as "test accuracy"."""
    return metric.replace("_", " ")


def value_text(value: Any) -> str:
    """A configuration's value as a person writes it; a dash for one that does not apply."""
    if is_missing(value):
        return "—"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def setting_text(value: Any) -> str | None:
    """A point's value; a choice with options as `kaiming_uniform (gain 1.4)`. None stays None."""
    if not isinstance(value, Mapping):
        return None if is_missing(value) else value_text(value)
    options = ", ".join(f"{name} {value_text(option)}" for name, option in value.items() if name != "kind")
    kind = value_text(value["kind"]) if "kind" in value else ""
    return f"{kind} ({options})" if kind and options else kind or options


def is_missing(value: Any) -> bool:
    """Whether a table's cell is empty: None, NA or NaN."""
    return value is None or value is pd.NA or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def shorten(text: str, limit: int) -> str:
    """Cut to `limit` characters, saying so."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plural(count: int, noun: str) -> str:
    """`1 trial`, `1,000 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
