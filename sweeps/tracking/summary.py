"""Statistics of a trial over its replicates: the numbers by which trials are ranked."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.metrics import KNOWN
from sweeps.units import averaged, crossed_with

WITH_INTERVAL = ("test_accuracy", "parameters_kept")
FINISHED = "finished"


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Final metrics and measures of a record; what was not finite is NaN."""
    merged = {**record.get("metrics", {}), **record.get("measures", {})}
    return {
        name: math.nan if value is None else float(value)
        for name, value in merged.items()
        if value is None or isinstance(value, int | float)
    }


def summarise(records: Sequence[Mapping[str, Any]], objective: str) -> dict[str, float]:
    """Statistics of a trial's replicates: those of the trials' table, so that both give the same answers.

    Args:
        records: Records of the trial's replicates, in any order.
        objective: Metric that gets an interval beside test accuracy and parameters kept.

    Returns:
        `n` (seeds that finished, see `sweeps.units`), `n_diverged`, `n_failed`, `n_stopped`; for each metric
        `METRIC.mean` and, from two seeds on, `METRIC.sd`; for the objective, test accuracy and parameters kept
        also `.ci_low` and `.ci_high` (95 %, Student t); for the objective `.median` and the interquartile mean
        `.iqm`.
    """
    counts = Counter(record["status"] for record in records)
    counted = [record for record in records if record["status"] == FINISHED]
    counted.sort(key=lambda r: str(r["replicate_id"]))
    seeds = [record.get("seeds", {}) for record in counted]
    crossing = crossed_with([record.get("seeds", {}) for record in records])
    summary = {"n": float(len({one[crossing[0]] for one in seeds}) if crossing else len(counted))}
    summary |= {f"n_{status}": float(counts[status]) for status in ("diverged", "failed", "stopped")}
    rows = [numbers(record) for record in counted]
    for name in KNOWN:
        known = [place for place, row in enumerate(rows) if name in row and not math.isnan(row[name])]
        values = [rows[place][name] for place in known]
        if crossing:
            unit, others = crossing
            cells = [tuple(seeds[place][other] for other in others) for place in known]
            values = list(averaged(values, [seeds[place][unit] for place in known], cells).values())
        for statistic, value in _statistics(name, values, objective).items():
            summary[f"{name}.{statistic}"] = value
    return summary


def _statistics(name: str, values: Sequence[float], objective: str) -> dict[str, float]:
    if not values:
        return {}
    mean = statistics.fmean(values)
    found = {"mean": mean}
    if name == objective:
        found |= {"median": statistics.median(values), "iqm": _interquartile_mean(values)}
    if len(values) > 1:
        found["sd"] = statistics.stdev(values)
        if name in (objective, *WITH_INTERVAL):
            half = student_t(len(values) - 1) * found["sd"] / math.sqrt(len(values))
            found |= {"ci_low": mean - half, "ci_high": mean + half}
    return found


def _interquartile_mean(values: Sequence[float]) -> float:
    """That of the trials' table, whose module would bring pandas into the projector's every pass."""
    cut = len(values) // 4
    return statistics.fmean(sorted(values)[cut : len(values) - cut])


def student_t(degrees: int, level: float = 0.95) -> float:
    """Quantile of Student's t that a two-sided interval of the given level reaches to."""
    from scipy.special import stdtrit  # scipy.stats takes ten times as long to import

    return float(stdtrit(degrees, 0.5 + level / 2))
