"""How fast trials train: seconds a replicate takes for an epoch, by shape, and what follows for others.

A pace is that of the epochs that were really trained: a trial that began from a sibling's state has a short time
and few epochs of its own, and its pace is that of any other.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from sweeps.texts import Texts
from sweeps.trial_spec import TrialSpec

LEVEL = 0.95


class Shapes:
    """What the pace of a trial depends on most: data, architecture, batch, optimiser, and whether it is pruned."""

    def __init__(self) -> None:
        self._texts = Texts()
        # By the sections' own identities; they are kept, so that no number is given twice.
        self._known: dict[tuple[int, ...], tuple[tuple[BaseModel, ...], str]] = {}

    def __call__(self, spec: TrialSpec) -> str:
        """The same text for trials of the same shape."""
        sections = data, model, training = spec.data, spec.model, spec.training
        key = (id(data), id(model), id(training), spec.is_pruned)
        found = self._known.get(key)
        if found is None:
            what = (training.batch_size, training.optimiser.kind, training.precision, spec.is_pruned)
            text = " ".join(map(str, (self._texts(data, model), *what)))
            found = self._known[key] = (sections, text)
        return found[1]

    def measured(self, spec: TrialSpec) -> str:
        """The same text for trials of the same shape and measures."""
        return f"{self(spec)} {self._texts(spec.measures)}"


@dataclass(frozen=True)
class Pace:
    """Observed paces of one shape.

    Attributes:
        seconds: Of one replicate and epoch, an entry an observation.
        each: What one observation is the mean of, and what others will scatter by: a trial, or an epoch.
    """

    seconds: tuple[float, ...]
    each: Literal["trial", "epoch"] = "trial"

    def of(self, work: Iterable[tuple[int, int]]) -> Term:
        """Time of trials of this shape, one after another.

        Args:
            work: Replicates and epochs of each trial.
        """
        count, squares = 0, 0
        for replicates, epochs in work:
            count += replicates * epochs
            squares += replicates**2 * epochs * (epochs if self.each == "trial" else 1)
        return term(self.seconds, count, squares)


class Term(NamedTuple):
    """A sum of times to come: what is expected, its variance, and the degrees of freedom that is known with.

    With one observation there is no variance to be known: it is NaN.
    """

    expected: float
    variance: float
    freedom: int


def term(observed: Sequence[float], count: float, squares: float) -> Term:
    """The sum of w_i x_i over values x_i to come that scatter as the n observed ones do.

    Source: the prediction interval for a mean of future observations (Hahn and Meeker, Statistical Intervals,
    1991, section 4.6), with weights: the sum of the w_i x_i less (sum of the w_i) times the observed mean has
    variance s² (sum of the w_i² + (sum of the w_i)² / n).

    Args:
        observed: At least one value.
        count: Sum of the weights.
        squares: Sum of the squared weights.
    """
    n = len(observed)
    variance = statistics.variance(observed) * (squares + count**2 / n) if n > 1 else math.nan
    return Term(statistics.fmean(observed) * count, variance, n - 1)


def total(terms: Sequence[Term], level: float = LEVEL) -> tuple[float, tuple[float, float] | None]:
    """Sum of independent times and its prediction interval; None where a term has no variance.

    Degrees of freedom are those of Welch and Satterthwaite (Biometrics Bulletin 2 (1946) 110).
    """
    expected = sum(one.expected for one in terms)
    variance = sum(one.variance for one in terms)
    if math.isnan(variance):
        return expected, None
    if variance == 0:
        return expected, (expected, expected)
    from sweeps.statistics.samples import t_quantile

    freedom = variance**2 / sum(one.variance**2 / one.freedom for one in terms if one.variance)
    half = float(t_quantile(freedom, level)) * math.sqrt(variance)
    return expected, (max(0.0, expected - half), expected + half)


def observed(recorded: Iterable[Mapping[str, Any]]) -> float | None:
    """Pace of one trial's replicates as records have it, measures apart; None if they trained nothing.

    Replicates that began together trained together: their time is that of the longest. Those of another launch
    are another group, whose time comes on top.
    """
    groups: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for record in recorded:
        groups[record.get("started", 0)].append(record)
    seconds = sum(_seconds(group) for group in groups.values())
    epochs = sum(_epochs(record) for group in groups.values() for record in group)
    return seconds / epochs if epochs else None


def _seconds(group: Sequence[Mapping[str, Any]]) -> float:
    measured = sum(record.get("measure_seconds", 0.0) for record in group)
    return max(0.0, float(max(record["wall_seconds"] for record in group)) - measured)


def _epochs(record: Mapping[str, Any]) -> int:
    """Epochs that were trained for this record itself."""
    return int(record["epochs"]) - int((record.get("forked_from") or {}).get("epoch", 0))
