"""Questions to a whole table of replicates: every trial's statistics, shares of variance, associations, ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sweeps.statistics.association import association
from sweeps.statistics.cells import Cell, cells, numbers, require
from sweeps.statistics.columns import assign, varies, varying_configuration, varying_seeds, without_aliases
from sweeps.statistics.decomposition import variance_shares
from sweeps.statistics.finding import Finding
from sweeps.statistics.groups import arrange
from sweeps.statistics.improvement import Mode
from sweeps.statistics.many import Correction, adjusted
from sweeps.statistics.repeats import each_once
from sweeps.statistics.samples import Array
from sweeps.statistics.shares import nested_shares
from sweeps.statistics.standings import rank_groups
from sweeps.status import Status
from sweeps.units import averaged

# Words in the names of metrics.
OUTCOMES = ("accuracy", "loss", "penalty", "test_examples")


def finding_frame(findings: Sequence[Finding], labels: Sequence[dict[str, Cell]]) -> pd.DataFrame:
    """A row a finding: its labels, then its numbers (missing where they do not exist), method and sentence."""
    rows = [
        label
        | {
            "statistic": finding.statistic,
            "estimate": finding.estimate,
            "low": finding.interval.low if finding.interval else None,
            "high": finding.interval.high if finding.interval else None,
            "n": finding.n,
            "p": finding.p,
            "effect": finding.effect,
            "method": finding.method,
            "sentence": finding.sentence,
        }
        for label, finding in zip(labels, findings, strict=True)
    ]
    frame = pd.DataFrame(rows)
    numbers = ["estimate", "low", "high", "p", "effect"]
    return frame.astype(dict.fromkeys(numbers, "Float64")) if rows else frame


def finished(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows that finished with a finite metric, each replicate once."""
    require(table, [metric])
    rows = each_once(table)
    usable = np.isfinite(numbers(rows, metric))
    if "status" in rows.columns:
        usable &= (rows["status"].astype(str) == Status.FINISHED).to_numpy()
    return rows[usable]


def values_of(rows: pd.DataFrame, column: str) -> Array:
    """A column as float64."""
    return numbers(rows, column)


def decompose(
    table: pd.DataFrame,
    *,
    metric: str = "validation_accuracy",
    factors: Sequence[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Shares of variance of the sources of chance and of the swept dimensions, a row each.

    By default the factors are every seed column and every configuration column that varies; pruning options
    vary together with the rule, so that they count as one factor, `prune`. Seeds are nested in the configuration:
    see `sweeps.statistics.nested`.

    Raises:
        UnknownColumn: A name is no column.
    """
    rows = finished(table, metric)
    names = (
        list(factors)
        if factors is not None
        else [*_sources(rows), *without_aliases(rows, varying_configuration(rows))]
    )
    require(table, names)
    pruning = [name for name in names if name.startswith("prune.")] if factors is None else []
    labels = {name: [str(c) for (c,) in cells(rows, [name])] for name in names if name not in pruning}
    if pruning:
        name = pruning[0] if len(pruning) == 1 else "prune"
        labels[name] = [str(parts) for parts in cells(rows, pruning)]
    coded = {name: np.unique(text, return_inverse=True)[1] for name, text in labels.items()}
    chance = {name: code for name, code in coded.items() if name.startswith("seeds.") or name == "seed"}
    swept = {name: code for name, code in coded.items() if name not in chance}
    values = values_of(rows, metric)
    findings = (
        nested_shares(values, chance, swept, level=level)
        if chance
        else variance_shares(values, swept, level=level)
    )
    factors_of: list[dict[str, Cell]] = [{"factor": finding.details.get("factor")} for finding in findings]
    return finding_frame(findings, factors_of)


def _sources(rows: pd.DataFrame) -> list[str]:
    """Columns of chance that vary: those of seeds, or `seed` in a plain table."""
    return varying_seeds(rows) or [name for name in ("seed",) if name in rows.columns and varies(rows, name)]


def associate(
    table: pd.DataFrame,
    *,
    measures: Sequence[str],
    metric: str = "validation_accuracy",
    trial: str = "trial_id",
    level: float = 0.95,
    correction: Correction = "holm",
) -> pd.DataFrame:
    """Rank correlation of measures with the metric over replicates, averaged over trials; a row each.

    Column `p_corrected` is over all measures.

    Raises:
        UnknownColumn: A name is no column.
    """
    require(table, [metric, trial, *measures])
    findings: list[Finding] = []
    for measure in measures:
        both = finished(finished(table, metric), measure)
        findings.append(_associated(both, measure, metric, trial, level))
    labels: list[dict[str, Cell]] = [{"measure": measure} for measure in measures]
    frame = finding_frame(findings, labels)
    if findings:
        tested = frame["p"].notna()
        family = frame.loc[tested, "p"].to_numpy(dtype=np.float64)
        frame["p_corrected"] = pd.array([pd.NA] * len(frame), dtype="Float64")
        frame.loc[tested, "p_corrected"] = adjusted(family, correction)
    return frame


def _associated(rows: pd.DataFrame, measure: str, metric: str, trial: str, level: float) -> Finding:
    """Within trials, by unit: crossed replicates are averaged, and a seed's trials are one cluster.

    The unit is the initialisation wherever any trial crosses it with other sources of chance, so that clusters
    are the same for all trials.
    """
    seeds = varying_seeds(rows)
    if not seeds:
        return association(values_of(rows, measure), values_of(rows, metric), rows[trial].to_numpy(), level=level)
    triples, first = cells(rows, [trial, *seeds]), cells(rows, [trial, seeds[0]])
    crossed = len(set(first)) < len(set(triples))
    keys = first if crossed else triples
    cell_of = cells(rows, seeds[1:]) if crossed else [()] * len(rows)
    found: dict[Cell, list[int]] = {}
    for place, (name, *_) in enumerate(keys):
        found.setdefault(name, []).append(place)
    pairs: list[tuple[float, float, str, str]] = []
    one, other = values_of(rows, measure), values_of(rows, metric)
    for name, places in found.items():
        units, others = [keys[p] for p in places], [cell_of[p] for p in places]
        measured = averaged(one[places].tolist(), units, others)
        valued = averaged(other[places].tolist(), units, others)
        pairs += [(measured[unit], valued[unit], str(name), str(unit[1:])) for unit in measured]
    first_values, second_values, groups, clusters = zip(*pairs, strict=True) if pairs else ((), (), (), ())
    return association(first_values, second_values, groups, clusters, level=level)


def rank_arms(
    table: pd.DataFrame,
    *,
    factor: str,
    baseline: object,
    metric: str = "validation_accuracy",
    within: Sequence[str] | None = None,
    unit: Sequence[str] | None = None,
    mode: Mode = "max",
    level: float = 0.95,
) -> pd.DataFrame:
    """Mean ranks of a factor's arms over blocks, best first; a block is a seed of a group that all arms finished.

    Arms are those of `compare`, which ranks them, too, where there are three or more.

    Raises:
        UnknownColumn: A name is no column.
    """
    require(table, [factor, metric])
    groups = arrange(table, assign(table, factor, baseline, within, unit), baseline, metric)
    findings = rank_groups(groups, mode, level)
    return finding_frame(findings, [{"arm": finding.details.get("arm")} for finding in findings])


def measures_of(table: pd.DataFrame, metric: str) -> list[str]:
    """Numeric columns that vary and are neither configuration nor bookkeeping: what may explain the metric."""
    skipped = {metric, "started", "ended", "wall_seconds", "epochs"}
    names = [str(c) for c in table.select_dtypes("number").columns if "." not in str(c) and c not in skipped]
    return [name for name in names if varies(table, name)]


def explanatory(table: pd.DataFrame, metric: str) -> list[str]:
    """Measures of the networks that may explain a metric: none that tells how well a replicate did another way.

    The share of parameters kept stands for their number.
    """
    skipped = ("number", "parameters")
    names = [name for name in measures_of(table, metric) if name not in skipped]
    return [name for name in names if not any(word in name for word in OUTCOMES)]
