"""Questions to a whole table of replicates: every trial's statistics, shares of variance, associations, ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sweeps.statistics.association import association
from sweeps.statistics.cells import Cell, cells, numbers, require
from sweeps.statistics.columns import assign, varies, varying_configuration, varying_seeds, without_aliases
from sweeps.statistics.comparing import mode_of
from sweeps.statistics.decomposition import variance_shares
from sweeps.statistics.failures import failure_rate
from sweeps.statistics.finding import Finding
from sweeps.statistics.groups import Arm, arrange, resolution_of
from sweeps.statistics.improvement import Mode
from sweeps.statistics.many import Correction, adjusted
from sweeps.statistics.ranking import ranking
from sweeps.statistics.registered import STATISTICS
from sweeps.statistics.repeats import each_once
from sweeps.statistics.samples import Array
from sweeps.status import Status
from sweeps.units import SOURCES, averaged, crossed_with

# Words in the names of metrics.
OUTCOMES = ("accuracy", "loss", "penalty", "test_examples")
PER_TRIAL = ("mean", "sd", "collapse")


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


def sample_of(ended: pd.DataFrame, rows: pd.DataFrame, metric: str) -> Array:
    """One value a unit from a trial's replicates that ended well, `rows` being all of them; see `sweeps.units`."""
    values = values_of(ended, metric)
    seeds = {f"seeds.{name}": name for name in SOURCES if f"seeds.{name}" in rows.columns}
    if len(seeds) < 2 or sum(rows[column].nunique(dropna=False) > 1 for column in seeds) < 2:
        return values
    crossing = crossed_with(rows[list(seeds)].rename(columns=seeds).to_dict("records"))
    if crossing is None:
        return values
    unit, others = cells(ended, [f"seeds.{crossing[0]}"]), cells(ended, [f"seeds.{name}" for name in crossing[1]])
    return np.array(list(averaged(values.tolist(), unit, others).values()), dtype=np.float64)


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


def describe_trials(
    table: pd.DataFrame,
    *,
    metric: str = "validation_accuracy",
    statistics: Sequence[str] = PER_TRIAL,
    trial: str = "trial_id",
    level: float = 0.95,
    mode: Mode | None = None,
) -> pd.DataFrame:
    """Statistics of each trial over its finished seeds, and the rate at which its replicates diverged.

    Where sources of chance are crossed, a seed is one initialisation averaged over the rest, as in a comparison.

    Args:
        table: A row a replicate.
        metric: Column described.
        statistics: Registered statistics of one sample.
        trial: Column that tells trials apart.
        level: Coverage of the intervals.
        mode: Whether more (`max`) or less (`min`) of the metric is better; by default told from its name.

    Raises:
        UnknownColumn: A name is no column.
        UnknownName: A name is no statistic.
    """
    require(table, [trial, metric])
    entries = [STATISTICS[name] for name in statistics]
    known = {
        "level": level,
        "worse": "low" if (mode or mode_of(metric)) == "max" else "high",
        "resolution": resolution_of(table, metric),
    }
    options = [{name: known[name] for name in entry.options.model_fields if name in known} for entry in entries]
    groups = dict(iter(finished(table, metric).groupby(trial)))
    findings: list[Finding] = []
    labels: list[dict[str, Cell]] = []
    for name, rows in each_once(table).groupby(trial, sort=False):
        sample = sample_of(groups[name], rows, metric) if name in groups else np.empty(0)
        ended = rows["status"].astype(str) if "status" in rows else pd.Series([str(Status.FINISHED)] * len(rows))
        diverged = int((ended == Status.DIVERGED).sum())
        findings += [entry.function(sample, **chosen) for entry, chosen in zip(entries, options, strict=True)]
        findings.append(failure_rate(diverged, diverged + int((ended == Status.FINISHED).sum()), level=level))
        labels += [{trial: name}] * (len(entries) + 1)
    return finding_frame(findings, labels)


def decompose(
    table: pd.DataFrame,
    *,
    metric: str = "validation_accuracy",
    factors: Sequence[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Shares of variance of the sources of chance and of the swept dimensions, a row each.

    By default the factors are every seed column and every configuration column that varies; pruning options
    vary together with the rule, so that they count as one factor, `prune`.

    Raises:
        UnknownColumn: A name is no column.
    """
    rows = finished(table, metric)
    names = (
        list(factors)
        if factors is not None
        else [*varying_seeds(rows), *without_aliases(rows, varying_configuration(rows))]
    )
    require(table, names)
    pruning = [name for name in names if name.startswith("prune.")] if factors is None else []
    labels = {name: [str(c) for (c,) in cells(rows, [name])] for name in names if name not in pruning}
    if pruning:
        name = pruning[0] if len(pruning) == 1 else "prune"
        labels[name] = [str(parts) for parts in cells(rows, pruning)]
    coded = {name: np.unique(text, return_inverse=True)[1] for name, text in labels.items()}
    findings = variance_shares(values_of(rows, metric), coded, level=level)
    factors_of: list[dict[str, Cell]] = [{"factor": finding.details.get("factor")} for finding in findings]
    return finding_frame(findings, factors_of)


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

    Seeds of one group share its configuration, so blocks are independent only given it. Arms are those of
    `compare`.

    Raises:
        UnknownColumn: A name is no column.
    """
    require(table, [factor, metric])
    columns = assign(table, factor, baseline, within, unit)
    blocks: list[list[float]] = []
    names: dict[tuple[Cell, ...], str] = {}
    groups = [(g.baselines + g.arms) for g in arrange(table, columns, baseline, metric)]
    for arms in groups:
        names |= {tuple(arm.settings.values()): _label(arm) for arm in arms}
    for arms in groups:
        by_settings = {tuple(arm.settings.values()): arm.units() for arm in arms}
        if len(by_settings) == len(names):
            shared = set.intersection(*(set(units) for units in by_settings.values()))
            blocks += [[by_settings[key][unit] for key in names] for unit in sorted(shared, key=str)]
    values = np.array(blocks, dtype=np.float64).reshape(len(blocks), len(names))
    findings = ranking(values, list(names.values()), mode=mode, level=level)
    return finding_frame(findings, [{"arm": finding.details.get("arm")} for finding in findings])


def _label(arm: Arm) -> str:
    return ", ".join(str(value) for value in arm.settings.values() if value is not None)


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
