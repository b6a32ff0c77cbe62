"""What each pruned trial changes against its twin: findings of `sweeps.statistics`, joined to the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from sweeps.report.evidence import Evidence
from sweeps.report.words import plural
from sweeps.statistics import Comparison, Comparisons, Finding, Versus, compare_arms
from sweeps.statistics.cells import Cell, cells
from sweeps.statistics.errors import StatisticsError, UnknownBaseline
from sweeps.statistics.frame import comparison_frame
from sweeps.table import with_metric

FACTOR, BASELINE = "prune.rule", "none"


class Estimate(NamedTuple):
    """A number with its interval; ends are None where there is none."""

    value: float
    low: float | None
    high: float | None

    @property
    def span(self) -> tuple[float, float] | None:
        """Both ends, if there are."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @classmethod
    def of(cls, finding: Finding) -> Estimate | None:
        """Of a finding; None if it has no estimate."""
        if finding.estimate is None:
            return None
        interval = finding.interval
        return cls(finding.estimate, *((interval.low, interval.high) if interval else (None, None)))


@dataclass(frozen=True)
class Contrast:
    """One pruned trial against its twin.

    Attributes:
        trial_id: Of the pruned trial.
        number: Its place by the objective.
        arm: Its arm.
        difference: Of the metric's means, pruned minus twin.
        ratio: Of the variances, pruned over twin.
        excess: Standard deviations beyond what the test set alone gives, twin and pruned; empty where it is not
            recorded which examples were right.
        excess_ratio: Of the variances beyond it; None where the twin has none, or it is not recorded.
        row, baseline, versus: The statistics they are from.
        verdict: In a few words.
        sentence: In full.
    """

    trial_id: str
    number: int
    arm: str
    difference: Estimate | None
    ratio: Estimate | None
    excess: tuple[Estimate, ...]
    excess_ratio: float | None
    row: Comparison
    baseline: Comparison
    versus: Versus
    verdict: str
    sentence: str


@dataclass(frozen=True)
class Contrasts:
    """All of them, the best trial first.

    Attributes:
        metric: What is compared.
        all: One a pruned trial that could be compared.
        frame: The whole comparison as a table, baselines included.
        answers: How it was done; None if it could not be.
        obstacles: Why some, or all, could not be compared.
    """

    metric: str
    all: Sequence[Contrast]
    frame: pd.DataFrame
    answers: Comparisons | None
    obstacles: Sequence[str]

    def of(self, trial_id: str) -> Contrast | None:
        """The contrast of one trial."""
        return next((one for one in self.all if one.trial_id == trial_id), None)


def contrasts(evidence: Evidence, margin: float | None = None) -> Contrasts:
    """Compare every pruned trial with its twin, p values corrected over all; test equivalence within a margin."""
    metric = evidence.metric
    try:
        answers = compare_arms(
            with_metric(evidence.table, metric),
            factor=FACTOR,
            baseline=BASELINE,
            metric=metric,
            correct=evidence.correct,
            margin=margin,
        )
    except UnknownBaseline as error:
        return Contrasts(metric, [], pd.DataFrame(), None, [f"Nothing to compare with: {error}."])
    except StatisticsError as error:
        return Contrasts(metric, [], pd.DataFrame(), None, [str(error)])
    frame = comparison_frame(answers)
    places = _places(evidence, answers)
    found: list[Contrast] = []
    obstacles: list[str] = []
    untested = 0
    baseline: Comparison | None = None
    for row, verdict, sentence in zip(answers.rows, frame["verdict"], frame["sentence"], strict=True):
        baseline = row if row.is_baseline else baseline
        trial = places.get(_key({**row.group, **row.settings}, answers))
        if row.versus is None:
            obstacles += [row.obstacle] if row.obstacle else []
        elif _is_empty(row.versus):
            untested += 1
        elif baseline is not None and trial is not None:
            found.append(_contrast(trial, row, baseline, row.versus, str(verdict), str(sentence)))
    found.sort(key=lambda one: one.number)
    if untested:
        obstacles.append(f"{plural(untested, 'pruned trial')} could not be: too few replicates finished.")
    return Contrasts(metric, found, frame, answers, list(dict.fromkeys(obstacles)))


def _is_empty(versus: Versus) -> bool:
    """Whether neither means nor variances could be set against each other."""
    return versus.difference.estimate is None and versus.ratio.estimate is None


def _contrast(
    trial: pd.Series, row: Comparison, baseline: Comparison, versus: Versus, verdict: str, sentence: str
) -> Contrast:
    return Contrast(
        trial_id=str(trial["trial_id"]),
        number=int(trial["number"]),
        arm=str(trial["arm"]),
        difference=Estimate.of(versus.difference),
        ratio=Estimate.of(versus.ratio),
        excess=_excess(baseline.excess, row.excess),
        excess_ratio=versus.excess_ratio.estimate if versus.excess_ratio else None,
        row=row,
        baseline=baseline,
        versus=versus,
        verdict=verdict,
        sentence=sentence,
    )


def _excess(*arms: Finding | None) -> tuple[Estimate, ...]:
    """Standard deviations of both arms, or nothing unless both are known; a negative excess variance is none."""
    found = [estimate for arm in arms if arm is not None and (estimate := Estimate.of(arm)) is not None]
    if len(found) < len(arms):
        return ()
    return tuple(
        Estimate(_root(one.value), *(map(_root, one.span) if one.span else (None, None))) for one in found
    )


def _root(variance: float) -> float:
    return float(max(variance, 0.0) ** 0.5)


def _places(evidence: Evidence, answers: Comparisons) -> dict[tuple[Cell, ...], pd.Series]:
    """Trials by the values of the columns that tell the comparison's arms apart."""
    keys = cells(evidence.trials, [column for column in _columns(answers) if column in evidence.trials])
    return dict(zip(keys, (row for _, row in evidence.trials.iterrows()), strict=True))


def _key(settings: Mapping[str, Cell], answers: Comparisons) -> tuple[Cell, ...]:
    return tuple(settings[column] for column in _columns(answers))


def _columns(answers: Comparisons) -> list[str]:
    return [*answers.columns.group, answers.columns.factor, *answers.columns.arm]
