"""From replicates to trials: statistics over the replicates of each trial."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from scipy import stats

from sweeps.goal import interquartile_mean
from sweeps.metrics import KNOWN, LEVEL
from sweeps.status import Status
from sweeps.units import SOURCES, averaged, crossed_with

WITH_INTERVAL = ("test_accuracy", "parameters_kept")
_OWN = ("replicate_id", "status", "reason", "sweep", "epochs", "wall_seconds", "started", "ended")


def trials_of(
    replicates: pd.DataFrame, *, objective: str = "validation_accuracy", also: Collection[str] = ()
) -> pd.DataFrame:
    """A row a trial from a row a replicate.

    Columns: `trial_id, role, twin, n` (seeds that finished), `n_diverged, n_failed, n_stopped`, the
    configuration, and `METRIC.mean`, `.sd`, `.median` for every metric, with `.ci_low` and `.ci_high` (Student t,
    95 %) for the objective, the metrics of `also`, the test accuracy and the parameters kept, and the mean of the
    middle half `.iqm` for the objective and `also`. Only replicates that finished count; those that did not are
    counted apart, never averaged in and never left unsaid. Where sources of chance are crossed, a seed is one
    initialisation averaged over the rest: see `sweeps.units`.
    """
    if replicates.empty:
        return pd.DataFrame(columns=["trial_id", "role", "twin", "n", "n_diverged", "n_failed", "n_stopped"])
    metrics = [name for name in KNOWN if name in replicates]
    table = _about(replicates, metrics)
    for status in (Status.DIVERGED, Status.FAILED, Status.STOPPED):
        table[f"n_{status}"] = (replicates["status"] == status).groupby(replicates["trial_id"], sort=False).sum()
    counted = _units(replicates, metrics)
    by_trial = counted.groupby("trial_id", sort=False)
    table.insert(2, "n", by_trial.size().reindex(table.index, fill_value=0))
    asked = {objective, *also}
    columns = {
        f"{metric}.{name}": values
        for metric in metrics
        for name, values in _statistics(
            by_trial[metric], interval=metric in asked or metric in WITH_INTERVAL, trimmed=metric in asked
        ).items()
    }
    numbers = pd.DataFrame(columns).reindex(table.index)
    return pd.concat([table, numbers], axis=1).reset_index()


def _about(replicates: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """What all replicates of a trial have in common: its name, role and configuration."""
    numbers = [c for c in replicates if pd.api.types.is_numeric_dtype(replicates[c]) and "." not in str(c)]
    apart = {*_OWN, *metrics, *numbers}
    shared = [c for c in replicates if c not in apart and not str(c).startswith("seeds.")]
    about = replicates[shared].drop_duplicates("trial_id").set_index("trial_id")
    first = [c for c in ("role", "twin") if c in about]
    for missing in {"role", "twin"} - set(first):
        about[missing] = None
    return about[["role", "twin", *[c for c in about if c not in ("role", "twin")]]]


def _units(replicates: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """A row a unit: the replicates that finished, averaged within a unit in trials whose seeds are crossed."""
    finished = replicates[replicates["status"] == Status.FINISHED]
    seeds = {f"seeds.{name}": name for name in SOURCES if f"seeds.{name}" in replicates}
    if len(seeds) < 2:
        return finished
    # Trials in which one source varies, or none, are the rule: only the others are looked at one by one.
    varying = (replicates.groupby("trial_id", sort=False)[list(seeds)].nunique(dropna=False) > 1).sum(axis=1)
    kept, made = finished, []
    for trial in varying.index[varying > 1]:
        ours = replicates[replicates["trial_id"] == trial].rename(columns=seeds)
        crossing = crossed_with(ours[list(seeds.values())].to_dict("records"))
        if crossing is not None:
            kept = kept[kept["trial_id"] != trial]
            ended = ours[ours["status"] == Status.FINISHED]
            made.append(_averaged(ended, metrics, *crossing).assign(trial_id=trial))
    return pd.concat([kept[["trial_id", *metrics]], *made], ignore_index=True) if made else finished


def _averaged(rows: pd.DataFrame, metrics: list[str], unit: str, crossed: tuple[str, ...]) -> pd.DataFrame:
    found = {}
    for metric in metrics:
        known = rows[rows[metric].notna()]
        cells = list(known[list(crossed)].itertuples(index=False, name=None))
        found[metric] = pd.Series(averaged(known[metric].tolist(), known[unit].tolist(), cells), dtype=float)
    return pd.DataFrame(found, index=rows[unit].unique())


def _statistics(groups: object, *, interval: bool, trimmed: bool) -> dict[str, pd.Series]:
    mean, sd, n = groups.mean(), groups.std(ddof=1), groups.count()  # type: ignore[attr-defined]
    found = {"mean": mean, "sd": sd, "median": groups.median()}  # type: ignore[attr-defined]
    if interval:
        half = stats.t.ppf((1 + LEVEL) / 2, np.maximum(n - 1, 1)) * sd / np.sqrt(np.maximum(n, 1))
        found |= {"ci_low": mean - half, "ci_high": mean + half}
    if trimmed:
        found["iqm"] = groups.agg(_interquartile_mean)  # type: ignore[attr-defined]
    return found


def _interquartile_mean(values: pd.Series) -> float:
    return interquartile_mean(values.dropna().tolist())
