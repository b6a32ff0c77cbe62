"""The best trials of a sweep, with their configurations to launch again.

Answers come from the records, or with `source="mlflow"` from an MLflow that they were projected to.

>>> sweeps.best("quickstart", k=3)[0].spec.training.optimiser.options["lr"]  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from sweeps import choosing
from sweeps.answers import Answer, Answers
from sweeps.errors import SpecError, SweepNotFound
from sweeps.metrics import STATISTICS, refuse_test, require_known
from sweeps.origin import MOST_NAMED, Origin, Records, Root, Source, origin_of, unplanned
from sweeps.wording import counted, listed


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
    planned: bool = False,
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
        planned: Only what the present plan asks for, and not what earlier ones have left; of records alone.
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
    if planned:
        origin = _only_planned(origin)
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
        chosen, left_out, looked_at = [({}, quick)], quick.attrs["left_out"], set(wanted)
    else:
        table, left_out, looked_at = _candidates(origin, columns, where, select_on_test)
        if pareto:
            chosen = [({}, choosing.front(_without_broken(table, left_out, allow_diverged), columns))]
        else:
            ranked = choosing.rank(table, next(iter(columns)), mode, allow_diverged=allow_diverged)
            grouped = choosing.groups(ranked, per) if per else [({}, ranked)]
            chosen = [(group, rows.head(k)) for group, rows in grouped]
        if behind := len(table) - sum(len(rows) for _, rows in chosen):
            left_out.append(f"{counted(behind, 'trial')} {'not on the front' if pareto else 'after these'}")
    on_test = any(one.startswith("test_") for one in looked_at)
    found = (_answer(row, columns, origin, on_test, group) for group, rows in chosen for _, row in rows.iterrows())
    included = [] if planned else unplanned(origin, pd.concat([rows for _, rows in chosen]))
    return Answers(found, [*left_out, *_at_target(origin)], included)


def _only_planned(origin: Origin) -> Records:
    if not isinstance(origin, Records):
        raise SpecError("planned: MLflow does not hold the plan; ask the records")
    return replace(origin, only_planned=True)


def _at_target(origin: Origin) -> list[str]:
    """A sentence where trials stopped as they reached what was asked of them: they have no final numbers."""
    from sweeps.stopping import successes

    stops = successes(origin.folder, origin.trials_asked_for) if isinstance(origin, Records) else {}
    found = [f"trial {trial} ({stop.reason})" for trial, stop in stops.items()]
    return [f"{counted(len(found), 'trial')} stopped at the target: {listed(found, MOST_NAMED)}"] if found else []


def _candidates(
    origin: Origin, columns: Mapping[str, str], where: str | None, select_on_test: bool
) -> tuple[pd.DataFrame, list[str], set[str]]:
    """Trials that meet the condition and have the numbers, what was left out, and what was looked at."""
    table = origin.trials([column.rpartition(".")[0] for column in columns])
    looked_at = set(columns)
    if where is not None and not table.empty:
        looked_at |= choosing.condition(where, table, select_on_test=select_on_test).names
        table = choosing.filtered(table, where, "trial", select_on_test=select_on_test)
        if table.empty:
            raise SweepNotFound(f"no trial of sweep {origin.name!r} meets the condition {where}")
    left_out: list[str] = list(table.attrs.get("left_out", ()))
    numbers = " and a ".join(columns)
    if not set(columns) <= set(table) or table[list(columns)].isna().any(axis=1).all():
        reached = "".join(f"; {sentence}" for sentence in _at_target(origin))
        raise SweepNotFound(f"sweep {origin.name!r} has no trial with a {numbers} yet{reached}")
    kept = table.dropna(subset=list(columns))
    if len(kept) < len(table):
        left_out.append(f"{counted(len(table) - len(kept), 'trial')} without a {numbers}")
    return kept, left_out, looked_at


def _check(metric: str, statistic: str, mode: str, k: int) -> None:
    require_known(metric)
    for field, value, allowed in (("statistic", statistic, STATISTICS), ("mode", mode, ("max", "min"))):
        if value not in allowed:
            raise SpecError(f"unknown {field} {value!r}; known: {', '.join(allowed)}")
    if k < 1:
        raise SpecError(f"k is {k}; allowed: 1 or more")


def _without_broken(table: pd.DataFrame, left_out: list[str], allow_diverged: bool) -> pd.DataFrame:
    """Trials for a front, which knows no last place: one with a diverged or failed replicate is not on it."""
    broken = choosing.is_broken(table)
    if allow_diverged or not broken.any():
        return table
    left_out.append(f"{counted(int(broken.sum()), 'trial')} with a diverged or failed replicate")
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
