"""The best trials as a table."""

from __future__ import annotations

import pandas as pd

from sweeps.report.blocks import Column, Paragraph, Section, Table, csv_download
from sweeps.report.evidence import Evidence
from sweeps.report.numbers import plain, statistic, with_interval
from sweeps.report.words import metric_words, plural, shorten, value_text

SHOWN = 20
COUNTS = {
    "n": "replicates with numbers",
    "n_diverged": "replicates whose loss was no longer finite",
    "n_failed": "replicates that raised an error",
    "n_stopped": "replicates that a stopper ended",
}
SIZE = "parameters_kept"


def best_trials(evidence: Evidence) -> Section:
    """The first trials by the objective with intervals, sizes and counts of failures."""
    if evidence.trials.empty:
        return Section("trials", "Best trials", [Paragraph("No replicate is recorded yet.")])
    objective = evidence.objective
    first = evidence.trials.head(SHOWN)
    left = len(evidence.trials) - len(first)
    order = "highest" if objective.mode == "max" else "lowest"
    caption = (
        f"{'All' if left == 0 else f'The first {SHOWN} of'} {plural(len(evidence.trials), 'trial')}, {order} "
        f"{objective.statistic} of the {metric_words(objective.metric)} first; trials with a diverged or failed "
        "replicate come after all others. ± is half of the 95 % interval (Student t over replicates); the test "
        "set reports and chooses nothing."
    )
    columns = [
        Column("#", True),
        Column("trial"),
        Column("arm"),
        *_dimension_columns(evidence),
        *_number_columns(evidence),
    ]
    rows = [_row(evidence, trial) for _, trial in first.iterrows()]
    table = Table(caption, columns, rows, csv_download(f"{evidence.sweep}-trials", evidence.trials))
    return Section("trials", "Best trials", [table])


def _dimension_columns(evidence: Evidence) -> list[Column]:
    return [Column(shorten(short, 24), note=path) for path, short in evidence.dimensions.items()]


def _number_columns(evidence: Evidence) -> list[Column]:
    metric = evidence.objective.metric
    columns = [
        Column(metric_words(metric), True, "mean ± half of its 95 % interval"),
        Column("sd", True, f"standard deviation of the {metric_words(metric)} over replicates"),
    ]
    if evidence.objective.statistic not in ("mean", "sd"):
        columns.insert(0, Column(f"{evidence.objective.statistic}", True, "what trials are ranked by"))
    if metric != "test_accuracy":
        columns.append(
            Column("test accuracy", True, "mean ± half of its 95 % interval; reported, never chosen by")
        )
    columns.append(Column("parameters kept", True, "share of the unpruned network's parameters"))
    return columns + [Column(_count_title(name), True, note) for name, note in _counts(evidence).items()]


def _row(evidence: Evidence, trial: pd.Series) -> list[str]:
    objective = evidence.objective
    numbers = [with_interval(trial, objective.metric), statistic(trial, f"{objective.metric}.sd")]
    if objective.statistic not in ("mean", "sd"):
        numbers.insert(0, plain(float(trial.get(objective.column, float("nan")))))
    if objective.metric != "test_accuracy":
        numbers.append(with_interval(trial, "test_accuracy"))
    numbers.append(with_interval(trial, SIZE))
    settings = [shorten(value_text(trial.get(path)), 40) for path in evidence.dimensions]
    counts = [str(int(trial[name])) for name in _counts(evidence)]
    return [str(trial["number"]), trial["short"], trial["arm"], *settings, *numbers, *counts]


def _counts(evidence: Evidence) -> dict[str, str]:
    """n and diverged always; the others where there are any."""
    trials = evidence.trials
    always = ("n", "n_diverged")
    return {
        name: note for name, note in COUNTS.items() if name in trials and (name in always or trials[name].any())
    }


def _count_title(name: str) -> str:
    return name.removeprefix("n_")
