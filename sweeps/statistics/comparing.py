"""Arms against their baseline, group by group, with one correction over all that was looked at.

Metrics of the test set report here and choose nothing: a comparison ranks no configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, get_args

import numpy as np

from sweeps.statistics.arms import Correct, describe, set_against
from sweeps.statistics.cells import cell, cells, matches, order, require
from sweeps.statistics.columns import Columns, assign
from sweeps.statistics.comparison import Comparison, Comparisons, VarianceTest, Versus, shown
from sweeps.statistics.errors import UnknownBaseline, UnknownChoice
from sweeps.statistics.frame import comparison_frame
from sweeps.statistics.groups import Arm, Group, arrange
from sweeps.statistics.improvement import Mode
from sweeps.statistics.many import Correction, adjusted
from sweeps.statistics.standings import rank_groups

if TYPE_CHECKING:
    import pandas as pd

# What correctness on the test examples is the spread of.
TESTED = "test_accuracy"
# Fewest arms, the baseline counted, that a ranking says more of than the comparisons.
RANKED = 3
LOSSES = ("loss", "penalty", "error")


def mode_of(metric: str) -> Mode:
    """Whether more or less of a metric is better, from its name: losses, penalties and errors are to be small."""
    return "min" if any(word in metric for word in LOSSES) else "max"


def compare(
    table: pd.DataFrame,
    *,
    factor: str,
    baseline: object,
    metric: str = "test_accuracy",
    within: Sequence[str] | None = None,
    unit: Sequence[str] | None = None,
    level: float = 0.95,
    correction: Correction = "holm",
    variance_test: VarianceTest = "brown_forsythe",
    mode: Mode | None = None,
    correct: Correct | None = None,
    margin: float | None = None,
) -> pd.DataFrame:
    """Compare each value of a factor with its baseline, a row a group and arm; parameters as in `compare_arms`.

    Columns are described in `sweeps.statistics.frame`; numbers that do not exist are missing, and `sentence`
    says why. `attrs` of the frame hold how it was computed.
    """
    return comparison_frame(
        compare_arms(
            table,
            factor=factor,
            baseline=baseline,
            metric=metric,
            within=within,
            unit=unit,
            level=level,
            correction=correction,
            variance_test=variance_test,
            mode=mode,
            correct=correct,
            margin=margin,
        )
    )


def compare_arms(
    table: pd.DataFrame,
    *,
    factor: str,
    baseline: object,
    metric: str = "test_accuracy",
    within: Sequence[str] | None = None,
    unit: Sequence[str] | None = None,
    level: float = 0.95,
    correction: Correction = "holm",
    variance_test: VarianceTest = "brown_forsythe",
    mode: Mode | None = None,
    correct: Correct | None = None,
    margin: float | None = None,
) -> Comparisons:
    """Compare each value of a factor with its baseline, in every group of otherwise equal configurations.

    Args:
        table: A row a replicate: `sweeps.replicates(name)`, or any table with a factor and a metric.
            Replicates whose `status` (if there is such a column) is not `finished` are counted, never
            averaged.
        factor: Column whose values are compared.
        baseline: The factor's value that the others are compared with; text matches the number it spells.
        metric: Column compared.
        within: Columns, or prefixes of dotted ones, whose values make a group; by default every configuration
            column that varies and does not belong to the arm. What is left out is averaged within a seed.
        unit: Columns that identify a seed; by default those of `seeds.*` that vary, or `seed`.
        level: Coverage of the intervals; one minus it is the level of the verdicts.
        correction: Of the p values over all arms of all groups; means and variances are families of their
            own.
        variance_test: The test behind the verdict on variances; the paired one applies where seeds are
            shared.
        mode: Whether more (`max`) or less (`min`) of the metric is better; by default told from its name.
        correct: By replicate id, whether it was right on each test example: gives the test accuracy's spread in
            excess of the finite test set's. Other metrics have none.
        margin: Difference of means, above 0, that makes no difference in practice: arms are then also tested for
            being equivalent within it (two one-sided tests).

    Raises:
        UnknownColumn: A name is no column; the message lists the columns.
        UnknownBaseline: No replicate has the baseline; the message lists the factor's values.
        Collision: Rows would take each other's place; the message names the columns that tell them apart.
        UnknownChoice: A level outside (0.5, 1), a margin not above 0, or an unknown correction or test.
    """
    _require_choices(level, correction, variance_test, margin)
    require(table, [factor, metric])
    _require_baseline(table, factor, baseline)
    correct = correct if metric == TESTED else None
    columns = assign(table, factor, baseline, within, unit)
    mode = mode or mode_of(metric)
    rows: list[Comparison] = []
    groups = arrange(table, columns, baseline, metric)
    to_compare = sum(len(group.arms) for group in groups if len(group.baselines) == 1)
    # What could have been seen is what the corrected test sees.
    strict = level if correction == "none" else 1 - (1 - level) / max(to_compare, 1)
    for group in groups:
        against = partial(
            set_against, levels=(level, strict), test=variance_test, mode=mode, correct=correct, margin=margin
        )
        rows += _group_rows(
            group, columns, baseline, partial(describe, level=level, mode=mode, correct=correct), against
        )
    corrected, families = _corrected(rows, correction)
    distinct = {tuple(row.settings.values()) for row in rows}
    return Comparisons(
        rows=tuple(corrected),
        columns=columns,
        baseline=baseline,
        metric=metric,
        mode=mode,
        level=level,
        correction=correction,
        variance_test=variance_test,
        families=families,
        margin=margin,
        ranking=rank_groups(groups, mode, level) if len(distinct) >= RANKED else (),
    )


def _require_choices(level: float, correction: str, variance_test: str, margin: float | None) -> None:
    if not 0.5 < level < 1:
        raise UnknownChoice(f"level is {level:g}; allowed: above 0.5 and below 1")
    if margin is not None and not (margin > 0 and np.isfinite(margin)):
        raise UnknownChoice(f"margin is {margin:g}; allowed: finite and above 0, in units of the metric")
    for field, value, known in (
        ("correction", correction, get_args(Correction)),
        ("variance_test", variance_test, get_args(VarianceTest)),
    ):
        if value not in known:
            raise UnknownChoice(f"unknown {field} {value!r}; known: {', '.join(known)}")


def _require_baseline(table: pd.DataFrame, factor: str, baseline: object) -> None:
    known = dict.fromkeys(value for (value,) in cells(table, [factor]))
    if known and not any(matches(value, baseline) for value in known):
        listed = ", ".join(shown(value) for value in sorted(known, key=order))
        raise UnknownBaseline(f"no replicate has {factor} = {shown(cell(baseline))}; known here: {listed}")


def _group_rows(
    group: Group,
    columns: Columns,
    baseline: object,
    describe: Callable[[Group, Arm], Comparison],
    set_against: Callable[[Arm, Arm], Versus],
) -> list[Comparison]:
    """Rows of one group, baseline first; arms are compared if the group has exactly one baseline."""
    bases = [replace(describe(group, arm), is_baseline=True) for arm in group.baselines]
    rows = [describe(group, arm) for arm in group.arms]
    obstacle = _obstacle(bases, rows, f"{columns.factor} = {shown(baseline)}")
    if obstacle:
        return bases + [replace(row, obstacle=obstacle) for row in rows]
    if not rows:
        alone = f"Nothing to compare: {columns.factor} is {shown(baseline)} throughout."
        return [replace(row, obstacle=alone) for row in bases]
    against = [set_against(arm, group.baselines[0]) for arm in group.arms]
    return bases + [replace(row, versus=versus) for row, versus in zip(rows, against, strict=True)]


def _obstacle(bases: Sequence[Comparison], rows: Sequence[Comparison], wanted: str) -> str:
    """Why the group's arms can not be compared, or nothing."""
    if not bases:
        known = ", ".join(dict.fromkeys(shown(next(iter(row.settings.values()))) for row in rows))
        return f"Nothing to compare with: no replicate here has {wanted}; known here: {known}."
    if len(bases) > 1:
        names = "; ".join(row.label for row in bases)
        return f"Not compared: the baseline {wanted} is not one configuration here but {len(bases)} ({names})."
    return ""


def _corrected(rows: Sequence[Comparison], correction: Correction) -> tuple[list[Comparison], dict[str, int]]:
    """The rows with p values corrected over all of them, and the size of each question's family."""

    def family(p_of: Callable[[Versus], float | None]) -> list[float | None]:
        return _adjusted([None if row.versus is None else p_of(row.versus) for row in rows], correction)

    families = {
        "p_difference": family(lambda versus: versus.difference.p),
        "p_variances": family(lambda versus: versus.equality.p),
        # Where nothing collapsed the test among the healthy is the test of all: the family is as large.
        "p_healthy": family(lambda versus: (versus.healthy_equality or versus.equality).p),
        "p_equivalence": family(lambda versus: None if versus.equivalence is None else versus.equivalence.p),
        "p_divergence": family(lambda versus: versus.divergence.p),
        "p_dead": family(lambda versus: None if versus.dead is None else versus.dead.p),
    }
    excess = _adjusted([None if row.excess is None else row.excess.p for row in rows], correction)
    sizes = {name: len(rows) - found.count(None) for name, found in {**families, "p_excess": excess}.items()}
    corrected = []
    for place, row in enumerate(rows):
        versus = row.versus and replace(
            row.versus,
            p_difference=families["p_difference"][place],
            p_variances=families["p_variances"][place],
            p_healthy=families["p_healthy"][place],
            p_equivalence=families["p_equivalence"][place],
            p_divergence=families["p_divergence"][place],
            p_dead=families["p_dead"][place],
        )
        corrected.append(replace(row, versus=versus, p_excess=excess[place]))
    return corrected, sizes


def _adjusted(p_values: Sequence[float | None], correction: Correction) -> list[float | None]:
    """p values corrected over those that exist."""
    tested = [index for index, p in enumerate(p_values) if p is not None]
    result: list[float | None] = [None] * len(p_values)
    family = np.array([p_values[index] for index in tested], dtype=np.float64)
    for index, p in zip(tested, adjusted(family, correction), strict=True):
        result[index] = float(p)
    return result
