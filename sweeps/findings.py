"""Every finding of a sweep as plain values, and the same computed again from its tables.

A question is a name, a function of `QUESTIONS` and its options: enough to ask it again elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sweeps.aggregate import trials_of
from sweeps.correctness import Correctness
from sweeps.errors import StorageError
from sweeps.statistics import associate, compare, decompose, describe_trials
from sweeps.statistics.cells import cell
from sweeps.statistics.errors import StatisticsError
from sweeps.statistics.tables import explanatory

Document = dict[str, Any]
# Two computations of a number may differ by the order of their sums, on another processor.
TOLERANCE = 1e-9


def _trials(table: pd.DataFrame, correct: Correctness, **options: Any) -> pd.DataFrame:
    del correct
    return trials_of(table, **options)


def _compare(table: pd.DataFrame, correct: Correctness, **options: Any) -> pd.DataFrame:
    return compare(table, correct=correct, **options)


def _describe(table: pd.DataFrame, correct: Correctness, **options: Any) -> pd.DataFrame:
    del correct
    return describe_trials(table, **options)


def _decompose(table: pd.DataFrame, correct: Correctness, **options: Any) -> pd.DataFrame:
    del correct
    return decompose(table, **options)


def _associate(table: pd.DataFrame, correct: Correctness, **options: Any) -> pd.DataFrame:
    del correct
    return associate(table, **options)


QUESTIONS: dict[str, Callable[..., pd.DataFrame]] = {
    "trials": _trials,
    "compare": _compare,
    "describe": _describe,
    "decompose": _decompose,
    "associate": _associate,
}


def questions(table: pd.DataFrame, objective: str) -> Iterator[tuple[str, str, Document]]:
    """Name, function and options of everything that a sweep is asked: its trials, then each metric."""
    yield "trials", "trials", {"objective": objective}
    for metric in dict.fromkeys((objective, "test_accuracy")):
        if metric not in table:
            continue
        yield f"description-{metric}", "describe", {"metric": metric}
        yield f"comparison-{metric}", "compare", {"factor": "prune.rule", "baseline": "none", "metric": metric}
        yield f"shares-{metric}", "decompose", {"metric": metric}
        names = explanatory(table, metric)
        if names:
            yield f"associations-{metric}", "associate", {"metric": metric, "measures": names}


def answer(table: pd.DataFrame, correct: Correctness, function: str, options: Mapping[str, Any]) -> Document:
    """One question's answer as plain values: `rows`, or in `obstacle` why there are none.

    Raises:
        StorageError: The function is none that can be asked.
    """
    if function not in QUESTIONS:
        raise StorageError(f"unknown question {function!r}; known: {', '.join(QUESTIONS)}")
    asked: Document = {"function": function, "options": dict(options)}
    try:
        frame = QUESTIONS[function](table, correct, **options)
    except StatisticsError as error:
        return asked | {"obstacle": str(error), "rows": []}
    rows = [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]
    return asked | {"rows": rows}


def _plain(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else cell(value)
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def differences(stated: Document, computed: Document) -> Iterator[str]:
    """Where an answer differs from the same question asked again: numbers up to rounding, sentences to the letter.

    Sentences are what people quote, so that one which no longer follows is a difference, even where a newer
    version only words it otherwise.
    """
    if stated.get("obstacle") != computed.get("obstacle"):
        yield f"stated {stated.get('obstacle') or 'an answer'}; computed {computed.get('obstacle') or 'an answer'}"
    old, new = stated.get("rows", []), computed["rows"]
    if len(old) != len(new):
        yield f"{len(old)} rows stated, {len(new)} computed"
    for place, (one, other) in enumerate(zip(old, new, strict=False), start=1):
        for name in dict.fromkeys([*one, *other]):
            if not _same(one.get(name), other.get(name)):
                yield f"row {place}, {name}: stated {one.get(name)}, computed {other.get(name)}"


def _same(stated: Any, computed: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (stated, computed))
    if numbers:
        return math.isclose(stated, computed, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(stated == computed)
