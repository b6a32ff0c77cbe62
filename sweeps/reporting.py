"""What is written about a sweep from its records: comparisons, the report, the files for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sweeps import records
from sweeps import storage as storages
from sweeps.aggregate import trials_of
from sweeps.origin import SPECTRA, Records, Root, arrays_in
from sweeps.query import replicates
from sweeps.reservations import reservations
from sweeps.table import of_plan, with_metric

if TYPE_CHECKING:
    from sweeps.statistics.comparison import VarianceTest
    from sweeps.statistics.many import Correction


def has_records(sweep: Path) -> bool:
    """Whether any replicate of the sweep has a record."""
    return any((folder / records.RECORD).exists() for folder in records.folders(sweep))


def compare(
    name: str,
    *,
    factor: str = "prune.rule",
    baseline: object = "none",
    metric: str = "test_accuracy",
    within: Sequence[str] | None = None,
    level: float = 0.95,
    correction: Correction = "holm",
    variance_test: VarianceTest = "brown_forsythe",
    margin: float | None = None,
    storage: Root = None,
) -> pd.DataFrame:
    """Compare the arms of a factor with a baseline, paired by seed; a row a group and arm.

    Replicates of the last plan are compared, as in the report; what an earlier one left behind is not, and a
    sentence in `attrs["cautions"]` says how many these are, another one if seeds were added as needed. See
    `sweeps.statistics.compare` for the columns and the methods.

    Raises:
        SweepNotFound: The storage has no such sweep; lists those it has.
        StatisticsError: A name is no column, or no replicate has the baseline; lists those there are.
    """
    from sweeps.correctness import correctness_of
    from sweeps.statistics import compare as compare_table

    folder = storages.sweep_folder(storages.resolve(storage), name)
    plan, recorded = Records(folder).plan, replicates(name, storage=storage)
    table = of_plan(recorded, plan)
    answer = compare_table(
        with_metric(table, metric),
        factor=factor,
        baseline=baseline,
        metric=metric,
        within=within,
        level=level,
        correction=correction,
        variance_test=variance_test,
        margin=margin,
        correct=correctness_of(folder, table),
    )
    answer.attrs["cautions"] = reservations(plan, len(recorded) - len(table))
    return answer


def write_report(name: str, *, storage: Root = None, to: Path | None = None, margin: float | None = None) -> Path:
    """Write a sweep's report, by default into its folder; returns where.

    `margin` is a difference of means that is none in practice: equivalence within it is then tested and shown.
    """
    from sweeps import report

    to = to or _folder(name, storage) / "report.html"
    return report.write(**report_material(name, storage), to=to, margin=margin)


def write_paper(
    name: str,
    *,
    storage: Root = None,
    to: Path | None = None,
    figures: Sequence[str] = ("pdf", "png"),
    margin: float | None = None,
) -> list[Path]:
    """Write the report's tables, methods and figures as files for a paper, by default into `paper` in its folder.

    Args:
        name: Of the sweep.
        storage: Instead of `RMT_STORAGE` and `./sweeps-data`.
        to: Folder for the files.
        figures: Formats of the figures, each `pdf` or `png`.
        margin: As that of `write_report`.

    Returns:
        `tables.tex`, `methods.tex`, then the figures.
    """
    from sweeps import report

    return report.write_paper(
        **report_material(name, storage),
        to=to or _folder(name, storage) / "paper",
        formats=figures,
        margin=margin,
    )


def _folder(name: str, storage: Root) -> Path:
    return storages.sweep_folder(storages.resolve(storage), name)


def report_material(name: str, storage: Root) -> dict[str, Any]:
    """What `sweeps.report` is made from."""
    from sweeps.correctness import correctness_of

    root = storages.resolve(storage)
    sweep, table = storages.sweep_folder(root, name), replicates(name, storage=root)
    origin = Records(sweep)
    return {
        "storage": root,
        "sweep": name,
        "table": table,
        "trials": trials_of(table, objective=origin.objective["metric"]),
        "plan": origin.plan,
        "spectra": lambda trial, replicate: arrays_in(origin.file((trial, replicate), SPECTRA)),
        "histories": lambda trial, replicate: records.read_history(
            records.replicate_folder(sweep, trial, replicate)
        ),
        "correct": correctness_of(sweep, table),
    }
