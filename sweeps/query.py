"""Asking a sweep: its trials, its replicates, their histories and spectra, the best of them.

Answers come from the records, or with `source="mlflow"` from an MLflow that they were projected to.

>>> sweeps.best("quickstart", k=3)[0].spec.training.optimiser.options["lr"]  # doctest: +SKIP
>>> sweeps.replicates("quickstart", where='prune.rule == "none" and status == "finished"')  # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sweeps import choosing, records
from sweeps import storage as storages
from sweeps.aggregate import trials_of
from sweeps.answers import Answer, Answers
from sweeps.choosing import rank
from sweeps.errors import SpecError, SweepNotFound
from sweeps.metrics import KNOWN, STATISTICS, refuse_test
from sweeps.origin import SPECTRA, Named, Origin, Records, Source, arrays_in, origin_of
from sweeps.reservations import reservations
from sweeps.table import of_plan, with_metric

if TYPE_CHECKING:
    from sweeps.statistics.comparison import VarianceTest
    from sweeps.statistics.many import Correction

Root = str | os.PathLike[str] | None

__all__ = [
    "Answer",
    "Answers",
    "best",
    "compare",
    "history",
    "replicates",
    "spectra",
    "trials",
    "write_report",
]


def has_records(sweep: Path) -> bool:
    """Whether any replicate of the sweep has a record."""
    return any((folder / records.RECORD).exists() for folder in records.folders(sweep))


def replicates(
    name: str,
    *,
    where: str | None = None,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> pd.DataFrame:
    """A row a replicate that has ended; see `sweeps.table.replicates_of` for the columns.

    Args:
        name: Of the sweep.
        where: Only those for which this holds, a condition over the columns: `prune.rule == "mp_edge"`.
        select_on_test: Allow `where` to look at test metrics.
        source: `records`, or `mlflow` for a machine without them.
        storage: Of the records, instead of `RMT_STORAGE` and `./sweeps-data`.
        uri: Of MLflow, instead of `MLFLOW_TRACKING_URI` and the store inside the storage.

    Returns:
        The rows, and in `.attrs["left_out"]` a sentence for everything that is not among them.

    Raises:
        ExpressionError: `where` is no condition, or names no column; lists the columns.
        SelectionOnTest: `where` looks at a test metric, without `select_on_test`.
        SweepNotFound: There is no such sweep; lists those there are.
        TrackingError: MLflow does not answer, does not let us in, or is too old.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    return _replicates(origin, where, select_on_test)


def _replicates(origin: Origin, where: str | None, select_on_test: bool) -> pd.DataFrame:
    table = origin.replicates()
    pending = max(0, origin.planned - len(table))
    left_out = [f"{_count(pending, 'planned replicate')} not ended or not there yet"] if pending else []
    return _filtered(table, where, select_on_test, left_out, "replicate")


def _filtered(
    table: pd.DataFrame, where: str | None, select_on_test: bool, left_out: list[str], what: str
) -> pd.DataFrame:
    kept = table
    if where is not None and not table.empty:
        kept = choosing.those_where(table, choosing.condition(where, table, select_on_test=select_on_test))
        if len(kept) < len(table):
            left_out = [*left_out, f"{_count(len(table) - len(kept), what)} for which not: {where}"]
        kept = kept.reset_index(drop=True)
    kept.attrs["left_out"] = left_out
    return kept


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def trials(
    name: str,
    *,
    metric: str | None = None,
    where: str | None = None,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> pd.DataFrame:
    """A row a trial; see `sweeps.aggregate.trials_of` for the columns. Arguments and errors as of `replicates`.

    Args:
        metric: Gets every statistic, instead of the objective's.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    metric = metric or origin.objective["metric"]
    table = origin.trials([metric])
    return _filtered(table, where, select_on_test, [], "trial")


def history(
    name: str,
    *,
    metrics: Sequence[str] | None = None,
    where: str | None = None,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> pd.DataFrame:
    """Epochs of every replicate as a long table: `trial_id, replicate_id, epoch, time, metric, value`.

    Other arguments and errors as of `replicates`; with `where` only replicates that have ended.

    Args:
        metrics: Which; all that were logged by epoch by default.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    chosen, left_out = None, []
    if where is not None:
        rows = _replicates(origin, where, select_on_test)
        chosen, left_out = list(_named(rows)), rows.attrs["left_out"]
    table = origin.history(chosen, metrics)
    table.attrs["left_out"] = left_out
    return table


def _named(rows: pd.DataFrame) -> Iterator[Named]:
    return zip(rows["trial_id"], rows["replicate_id"], strict=True)


def spectra(
    name: str,
    *,
    where: str | None = None,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> pd.DataFrame:
    """Singular values and fits: a row a layer, epoch and replicate that has ended. Arguments as of `replicates`.

    Columns: `trial_id, replicate_id, layer, epoch, singular_values` (descending, None where they were not kept),
    and those of the fit made there: `variance, edge, threshold, spikes, distance, rank, ...`.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    chosen = _replicates(origin, where, select_on_test)
    rows: list[dict[str, Any]] = []
    without = 0
    for trial, replicate in _named(chosen):
        arrays = arrays_in(origin.file((trial, replicate), SPECTRA))
        without += not arrays
        rows += ({"trial_id": trial, "replicate_id": replicate, **row} for row in _layers(arrays))
    first = ["trial_id", "replicate_id", "layer", "epoch", "singular_values"]
    table = pd.DataFrame(rows, columns=None if rows else first)
    table = table[[*first, *(column for column in table if column not in first)]]
    lacking = [f"{_count(without, 'replicate')} without spectra"] if without else []
    table.attrs["left_out"] = [*chosen.attrs["left_out"], *lacking]
    return table


def _layers(arrays: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of one `spectra.npz`, in the order of epochs and layers."""
    fits = json.loads(str(arrays["fits"])) if "fits" in arrays else []
    found = {(row["layer"], int(row["epoch"])): {**row, "singular_values": None} for row in fits}
    for key, values in arrays.items():
        place, _, last = key.rpartition("/")
        layer, _, epoch = place.rpartition("/")
        if last == "singular_values":
            row = found.setdefault((layer, int(epoch)), {"layer": layer, "epoch": int(epoch)})
            row["singular_values"] = values
    order = {layer: number for number, (layer, _) in enumerate(found)}
    yield from (found[key] for key in sorted(found, key=lambda place: (place[1], order[place[0]])))


def best(
    name: str,
    *,
    metric: str | None = None,
    statistic: str | None = None,
    mode: str | None = None,
    where: str | None = None,
    k: int = 5,
    per: str | None = None,
    pareto: str | Sequence[str] | None = None,
    allow_diverged: bool = False,
    select_on_test: bool = False,
    source: Source = "records",
    storage: Root = None,
    uri: str | None = None,
) -> Answers:
    """The best trials of a sweep, by a statistic over replicates.

    Args:
        name: Of the sweep.
        metric: Instead of the objective's.
        statistic: `mean`, `median`, `iqm`, `sd`, `ci_low` or `ci_high`, instead of the objective's.
        mode: `max` or `min`, instead of the objective's.
        where: Only trials for which this holds, a condition over the columns of `trials`.
        k: How many; of a Pareto front all are given.
        per: A dotted path: the k best of each of its values (`model`: of each architecture with its options).
        pareto: Metrics, `a,b` or `a:max,b:min`: the trials that no other one beats in all of them. Accuracies are
            to be large and everything else small unless said otherwise.
        allow_diverged: Rank trials with a diverged or failed replicate by their other ones, instead of last.
        select_on_test: Allow `test_*` metrics; stamped on the answers.
        source: `records`, or `mlflow` for a machine without them.
        storage: Of the records, instead of `RMT_STORAGE` and `./sweeps-data`.
        uri: Of MLflow, instead of `MLFLOW_TRACKING_URI` and the store inside the storage.

    Raises:
        ExpressionError: `where` is no condition, or names no column; lists the columns.
        SelectionOnTest: A test metric without `select_on_test`.
        SpecError: An unknown metric, statistic, mode, path or source, or k below 1.
        SweepNotFound: No such sweep, or no trial with numbers yet.
        TrackingError: MLflow does not answer, does not let us in, or is too old.
    """
    origin = origin_of(name, source, storage=storage, uri=uri)
    goal = origin.objective
    metric, statistic = metric or goal["metric"], statistic or goal["statistic"]
    mode = mode or goal["mode"]
    _check(metric, statistic, mode, k)
    wanted = choosing.objectives(pareto) if pareto else {metric: mode}
    for one in wanted:
        refuse_test(one, select_on_test=select_on_test)
    columns = {f"{one}.{statistic}": direction for one, direction in wanted.items()}
    quick = None
    chosen: list[tuple[dict[str, Any], pd.DataFrame]]
    if where is None and per is None and pareto is None:
        quick = origin.leading(next(iter(columns)), mode, k, allow_diverged=allow_diverged)
    if quick is not None:
        chosen, left_out, looked_at = [({}, quick)], ["trials after these"] if len(quick) == k else [], set(wanted)
    else:
        table, left_out, looked_at = _candidates(origin, columns, where, select_on_test)
        if pareto:
            chosen = [({}, choosing.front(_without_broken(table, left_out, allow_diverged), columns))]
        else:
            ranked = rank(table, next(iter(columns)), mode, allow_diverged=allow_diverged)
            grouped = choosing.groups(ranked, per) if per else [({}, ranked)]
            chosen = [(group, rows.head(k)) for group, rows in grouped]
        if behind := len(table) - sum(len(rows) for _, rows in chosen):
            left_out.append(f"{_count(behind, 'trial')} {'not on the front' if pareto else 'after these'}")
    on_test = any(one.startswith("test_") for one in looked_at)
    found = (_answer(row, columns, origin, on_test, group) for group, rows in chosen for _, row in rows.iterrows())
    return Answers(found, left_out)


def _candidates(
    origin: Origin, columns: Mapping[str, str], where: str | None, select_on_test: bool
) -> tuple[pd.DataFrame, list[str], set[str]]:
    """Trials that meet the condition and have the numbers, what was left out, and what was looked at."""
    table = origin.trials([column.rpartition(".")[0] for column in columns])
    looked_at = set(columns)
    if where is not None and not table.empty:
        looked_at |= choosing.condition(where, table, select_on_test=select_on_test).names
        table = _filtered(table, where, select_on_test, [], "trial")
        if table.empty:
            raise SweepNotFound(f"no trial of sweep {origin.name!r} meets the condition {where}")
    left_out: list[str] = list(table.attrs.get("left_out", ()))
    numbers = " and a ".join(columns)
    if not set(columns) <= set(table) or table[list(columns)].isna().any(axis=1).all():
        raise SweepNotFound(f"sweep {origin.name!r} has no trial with a {numbers} yet")
    kept = table.dropna(subset=list(columns))
    if len(kept) < len(table):
        left_out.append(f"{_count(len(table) - len(kept), 'trial')} without a {numbers}")
    return kept, left_out, looked_at


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


def _without_broken(table: pd.DataFrame, left_out: list[str], allow_diverged: bool) -> pd.DataFrame:
    """Trials for a front, which knows no last place: one with a diverged or failed replicate is not on it."""
    broken = choosing.is_broken(table)
    if allow_diverged or not broken.any():
        return table
    left_out.append(f"{_count(int(broken.sum()), 'trial')} with a diverged or failed replicate")
    return table[~broken]


def _answer(
    row: pd.Series,
    columns: Mapping[str, str],
    origin: Origin,
    on_test: bool,
    group: Mapping[str, Any] | None = None,
) -> Answer:
    planned = origin.about(row["trial_id"])
    numbers = {
        str(k): float(v) for k, v in row.items() if str(k).rpartition(".")[2] in STATISTICS and "." in str(k)
    }
    return Answer(
        trial_id=row["trial_id"],
        ranked_by=", ".join(columns),
        value=float(row[next(iter(columns))]),
        statistics={k: v for k, v in numbers.items() if v == v},
        n=int(row["n"]),
        n_diverged=int(row["n_diverged"]),
        n_failed=int(row["n_failed"]),
        point=planned["point"],
        config=planned["config"],
        origin=origin,
        group=group or {},
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
