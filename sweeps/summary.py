"""Statistics over the replicates of a running trial: what it reports after an epoch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

REPORTED = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "parameters_kept")


def summarise(histories: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Mean and standard deviation over replicates of each one's latest row.

    Args:
        histories: Rows by epoch, one sequence a replicate.

    Returns:
        `METRIC.mean` and, from two replicates on, `METRIC.sd`; NaN when a replicate has diverged.
    """
    summary: dict[str, float] = {}
    for metric in REPORTED:
        values = [float(history[-1][metric]) for history in histories if metric in history[-1]]
        if values:
            finite = all(map(math.isfinite, values))
            summary[f"{metric}.mean"] = statistics.fmean(values) if finite else math.nan
            if len(values) > 1:
                summary[f"{metric}.sd"] = statistics.stdev(values) if finite else math.nan
    return summary
