"""Asking a sweep: its replicates, its trials, the best of them. Answers come from the records.

>>> sweeps.best("quickstart", k=3)[0].spec.training.optimiser.options["lr"]  # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sweeps import records
from sweeps import storage as storages
from sweeps.aggregate import trials_of
from sweeps.errors import SpecError, SweepNotFound
from sweeps.metrics import KNOWN, STATISTICS, refuse_test
from sweeps.table import replicates_of

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec
    from sweeps.statistics.comparison import VarianceTest
    from sweeps.statistics.many import Correction
    from sweeps.trial_spec import TrialSpec

Root = str | os.PathLike[str] | None


@dataclass(frozen=True)
class Answer:
    """A trial as an answer to a question.

    Attributes:
        ranked_by: What it was chosen by, as `METRIC.STATISTIC`.
        value: That number.
        statistics: Mean, sd, median and intervals over its replicates, as `METRIC.STATISTIC`.
        n: Replicates behind them; `n_diverged` and `n_failed` are not among these.
        point: Values of the dimensions that make a difference to the trial.
        config: Its configuration, complete; `spec` is the same, checked and typed.
        folder: Of the sweep.
        selected_on_test: Whether the test set was used to choose it, which makes its test metrics optimistic.
    """

    trial_id: str
    ranked_by: str
    value: float
    statistics: Mapping[str, float]
    n: int
    n_diverged: int
    n_failed: int
    point: Mapping[str, Any]
    config: Mapping[str, Any]
    folder: Path
    selected_on_test: bool = False

    @cached_property
    def spec(self) -> TrialSpec:
        """Its configuration, ready to be run: `sweeps.run_trial(answer.spec)`."""
        from sweeps.spec import build_trial

        return build_trial(self.config)

    def document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = asdict(self)
        del plain["folder"]
        return plain

    def to_spec(self, name: str | None = None) -> SweepSpec:
        """A sweep of this trial alone (and its twin), to launch again."""
        from sweeps.spec import build_spec, load_spec

        document = load_spec(self.folder / "spec.yaml").document(resolved=True)
        document |= {
            "name": name or f"{self.folder.name}-{self.trial_id}",
            "trial": dict(self.config),
            "space": {},
            "design": {"kind": "grid"},
        }
        return build_spec(document)


def has_records(sweep: Path) -> bool:
    """Whether any replicate of the sweep has a record."""
    return any((folder / records.RECORD).exists() for folder in records.folders(sweep))


def plan_of(name: str, *, storage: Root = None) -> dict[str, Any]:
    """The plan a sweep was last launched with, as `plan.json` holds it.

    Raises:
        SweepNotFound: The storage has no such sweep; lists those it has.
    """
    sweep = storages.sweep_folder(storages.resolve(storage), name)
    plan: dict[str, Any] = json.loads((sweep / "plan.json").read_bytes())
    return plan


def replicates(name: str, *, storage: Root = None) -> pd.DataFrame:
    """A row a recorded replicate; see `sweeps.table.replicates_of` for the columns.

    Raises:
        SweepNotFound: The storage has no such sweep; lists those it has.
    """
    return replicates_of(storages.sweep_folder(storages.resolve(storage), name))


def trials(name: str, *, storage: Root = None) -> pd.DataFrame:
    """A row a trial; see `sweeps.aggregate.trials_of` for the columns."""
    objective = plan_of(name, storage=storage)["objective"]
    return trials_of(replicates(name, storage=storage), objective=objective["metric"])


def best(
    name: str,
    *,
    metric: str | None = None,
    statistic: str | None = None,
    mode: str | None = None,
    k: int = 5,
    allow_diverged: bool = False,
    select_on_test: bool = False,
    storage: Root = None,
) -> list[Answer]:
    """The best trials of a sweep, by a statistic over replicates.

    Args:
        name: Of the sweep.
        metric: Instead of the objective's.
        statistic: `mean`, `median`, `sd`, `ci_low` or `ci_high`, instead of the objective's.
        mode: `max` or `min`, instead of the objective's.
        k: How many.
        allow_diverged: Rank trials with a diverged or failed replicate by their other ones, instead of last.
        select_on_test: Allow a `test_*` metric; stamped on the answers.
        storage: Instead of `RMT_STORAGE` and `./sweeps-data`.

    Raises:
        SelectionOnTest: A test metric without `select_on_test`.
        SpecError: An unknown metric, statistic or mode, or k below 1.
        SweepNotFound: No such sweep, or no trial with numbers yet.
    """
    goal = plan_of(name, storage=storage)["objective"]
    metric, statistic, mode = metric or goal["metric"], statistic or goal["statistic"], mode or goal["mode"]
    _check(metric, statistic, mode, k)
    refuse_test(metric, select_on_test=select_on_test)
    table = trials_of(replicates(name, storage=storage), objective=metric)
    column = f"{metric}.{statistic}"
    if column not in table or table[column].isna().all():
        raise SweepNotFound(f"sweep {name!r} has no trial with a {column} yet")
    ranked = rank(table.dropna(subset=column), column, mode, allow_diverged=allow_diverged).head(k)
    folder = storages.sweep_folder(storages.resolve(storage), name)
    return [_answer(row, column, folder, metric.startswith("test_")) for _, row in ranked.iterrows()]


def _check(metric: str, statistic: str, mode: str, k: int) -> None:
    for field, value, allowed in (
        ("metric", metric, tuple(sorted(KNOWN))),
        ("statistic", statistic, STATISTICS),
        ("mode", mode, ("max", "min")),
    ):
        if value not in allowed:
            raise SpecError(f"unknown {field} {value!r}; known: {', '.join(allowed)}")
    if k < 1:
        raise SpecError(f"k is {k}; allowed: 1 or more")


def rank(table: pd.DataFrame, column: str, mode: str, *, allow_diverged: bool = False) -> pd.DataFrame:
    """Trials in order of a column; one with a diverged or failed replicate comes after all that have none."""
    broken = (table["n_diverged"] + table["n_failed"] > 0) & (not allow_diverged)
    ordered = table.assign(_broken=broken).sort_values(
        ["_broken", column, "trial_id"], ascending=[True, mode == "min", True]
    )
    return ordered.drop(columns="_broken")


def _answer(row: pd.Series, column: str, folder: Path, on_test: bool) -> Answer:
    planned = json.loads((records.trial_folder(folder, row["trial_id"]) / "trial.json").read_bytes())
    numbers = {
        str(k): float(v) for k, v in row.items() if str(k).rpartition(".")[2] in STATISTICS and "." in str(k)
    }
    return Answer(
        trial_id=row["trial_id"],
        ranked_by=column,
        value=float(row[column]),
        statistics={k: v for k, v in numbers.items() if v == v},
        n=int(row["n"]),
        n_diverged=int(row["n_diverged"]),
        n_failed=int(row["n_failed"]),
        point=planned["point"],
        config=planned["config"],
        folder=folder,
        selected_on_test=on_test,
    )


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
    storage: Root = None,
) -> pd.DataFrame:
    """Compare the arms of a factor with a baseline, paired by seed; a row a group and arm.

    See `sweeps.statistics.compare` for the columns and the methods.

    Raises:
        SweepNotFound: The storage has no such sweep; lists those it has.
        StatisticsError: A name is no column, or no replicate has the baseline; lists those there are.
    """
    from sweeps.correctness import correctness_of
    from sweeps.statistics import compare as compare_table

    table = replicates(name, storage=storage)
    folder = storages.sweep_folder(storages.resolve(storage), name)
    return compare_table(
        table,
        factor=factor,
        baseline=baseline,
        metric=metric,
        within=within,
        level=level,
        correction=correction,
        variance_test=variance_test,
        correct=correctness_of(folder, table),
    )


def write_report(name: str, *, storage: Root = None, to: Path | None = None) -> Path:
    """Write a sweep's report, by default into its folder; returns where."""
    from sweeps import report

    return report.write(**_report_material(name, storage), to=to or _folder(name, storage) / "report.html")


def write_paper(
    name: str, *, storage: Root = None, to: Path | None = None, figures: Sequence[str] = ("pdf", "png")
) -> list[Path]:
    """Write the report's tables, methods and figures as files for a paper, by default into `paper` in its folder.

    Args:
        name: Of the sweep.
        storage: Instead of `RMT_STORAGE` and `./sweeps-data`.
        to: Folder for the files.
        figures: Formats of the figures, each `pdf` or `png`.

    Returns:
        `tables.tex`, `methods.tex`, then the figures.
    """
    from sweeps import report

    return report.write_paper(
        **_report_material(name, storage), to=to or _folder(name, storage) / "paper", formats=figures
    )


def _folder(name: str, storage: Root) -> Path:
    return storages.sweep_folder(storages.resolve(storage), name)


def _report_material(name: str, storage: Root) -> dict[str, Any]:
    """What `sweeps.report` is made from."""
    from sweeps.correctness import correctness_of

    root = storages.resolve(storage)
    sweep, table = storages.sweep_folder(root, name), replicates(name, storage=root)
    plan = plan_of(name, storage=root)
    return {
        "storage": root,
        "sweep": name,
        "table": table,
        "trials": trials_of(table, objective=plan["objective"]["metric"]),
        "plan": plan,
        "spectra": lambda trial, replicate: spectra_in(records.replicate_folder(sweep, trial, replicate)),
        "histories": lambda trial, replicate: records.read_history(
            records.replicate_folder(sweep, trial, replicate)
        ),
        "correct": correctness_of(sweep, table),
    }


def spectra_in(folder: Path) -> dict[str, Any]:
    """Spectra of a replicate: `LAYER/EPOCH/singular_values` and the table of `fits`; empty when it has none."""
    path = folder / "spectra.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}
