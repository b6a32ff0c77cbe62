"""Answers as tables on a terminal: best trials, rows, comparisons, sweeps, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape
from rich.table import Table

from sweeps.cli.terminal import console
from sweeps.metrics import STATISTICS
from sweeps.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from rmt.registry import Registry
    from sweeps.answers import Answer

SHOWN = ("validation_accuracy", "test_accuracy", "parameters_kept")
# Columns of a comparison that a narrow terminal does without, in this order.
LEAST_NEEDED = (
    "effect",
    "detectable ratio",
    "the same without collapsed",
    "ratio beyond test set",
    "p (variances)",
    "P(better)",
    "sd beyond test set",
)


def answers(found: Sequence[Answer]) -> None:
    """The best trials, with error bars."""
    ranked_by, *others = found[0].ranked_by.split(", ")
    metric = ranked_by.rpartition(".")[0]
    others = [column for column in others if column != "parameters_kept.mean"]
    dimensions = list(dict.fromkeys(path for answer in found for path in (*answer.group, *answer.point)))
    columns = ["", "trial", ranked_by, "sd", "n", *others, "test accuracy", "parameters kept", *dimensions]
    table = Table(*columns, box=None)
    for place, answer in enumerate(found, start=1):
        row = answer.statistics
        broken = f" (+{answer.n_diverged + answer.n_failed} broken)" if answer.n_diverged + answer.n_failed else ""
        table.add_row(
            str(place),
            answer.trial_id,
            _interval(row, metric) if ranked_by.endswith(".mean") else f"{answer.value:.4f}",
            _number(row.get(f"{metric}.sd")),
            f"{answer.n}{broken}",
            *(_number(row.get(column)) for column in others),
            _interval(row, "test_accuracy"),
            _interval(row, "parameters_kept"),
            *(short({**answer.group, **answer.point}.get(path, "")) for path in dimensions),
        )
    console.print(table)
    if found[0].selected_on_test:
        console.print("[bold]selected on the test set[/]: its test metrics are optimistic")


def left_out(sentences: Sequence[str], included: Sequence[str] = ()) -> None:
    """Say on standard error what is not among the answers, and what is though the plan does not ask for it."""
    for word, said in (("left out", sentences), ("included", included)):
        for sentence in said:
            typer.echo(f"{word}: {sentence}", err=True)


def _interval(row: Mapping[str, float], metric: str) -> str:
    mean, high = row.get(f"{metric}.mean"), row.get(f"{metric}.ci_high")
    if mean is None:
        return "–"
    return f"{mean:.4f}" if high is None else f"{mean:.4f} ± {high - mean:.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.4f}"


def short(value: object) -> str:
    """A value of a point in as few characters as tell it from others."""
    if isinstance(value, Mapping) and "kind" in value:
        options = ", ".join(f"{name}={short(option)}" for name, option in value.items() if name != "kind")
        return escape(f"{value['kind']}({options})" if options else str(value["kind"]))
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def frame(table: pd.DataFrame, metric: str | None = None) -> None:
    """A table of trials or replicates: names, what varies in the configuration, and the numbers asked for most.

    Args:
        table: A row a trial or replicate.
        metric: Shown first, with its interval.
    """
    from sweeps.report.words import is_missing

    names = [c for c in ("trial_id", "replicate_id", "role", "status", "reason", "n") if c in table]
    broken = [c for c in ("n_diverged", "n_failed", "n_stopped") if c in table and table[c].any()]
    varying = [c for c in map(str, table) if "." in c and table[c].nunique() > 1]
    paths = [c for c in varying if c.rpartition(".")[2] not in STATISTICS]
    asked = [f"{metric}.{statistic}" for statistic in ("mean", "sd", "ci_low", "ci_high")] if metric else []
    usual = [c for m in SHOWN for c in (m, f"{m}.mean", f"{m}.sd")]
    numbers = [c for c in dict.fromkeys([*asked, *usual]) if c in table]
    chosen = [*names, *broken, *paths, *numbers]
    shown = Table(*chosen, box=None)
    for row in table[chosen].itertuples(index=False):
        shown.add_row(*["" if is_missing(value) else short(value) for value in row])
    console.print(shown)
    if len(chosen) < table.shape[1]:
        console.print(f"{table.shape[1] - len(chosen)} more columns with --format csv, json or yaml, or --parquet")


def comparison(table: pd.DataFrame) -> None:
    """A comparison: a row an arm, then a sentence each."""
    from sweeps.statistics import presentable
    from sweeps.statistics.rendering import aligned

    text, dropped = presentable(table), 0
    lines = aligned(text)
    for column in LEAST_NEEDED:
        if not console.is_terminal or max(map(len, lines)) <= console.width:
            break
        if column in text:
            text, dropped = text.drop(columns=column), dropped + 1
            lines = aligned(text)
    for line in lines:
        typer.echo(line)
    if dropped:
        console.print(f"{dropped} more columns with a wider terminal or --format")
    for sentence in dict.fromkeys([*table["sentence"], *_ranked(table), *table.attrs.get("cautions", ())]):
        console.print(escape(f"- {sentence}"), soft_wrap=True)


def _ranked(table: pd.DataFrame) -> list[str]:
    """The ranking of the arms, best first, where there are three or more."""
    return [f"Rank: {sentence}" for sentence in table.attrs["ranking"]]


def verdicts(table: pd.DataFrame) -> None:
    """How often a comparison came to which verdict."""
    versus = table[~table["is_baseline"]]
    console.print(f"pruned against unpruned by seed, test accuracy, {counted(len(versus), 'comparison')}:")
    for verdict, count in versus["verdict"].value_counts().items():
        console.print(escape(f"  {count} × {verdict}"), soft_wrap=True)


def sweeps(rows: Sequence[Mapping[str, Any]]) -> None:
    """The sweeps of a storage."""
    if not rows:
        console.print("no sweeps here yet")
        return
    columns = [name for name in rows[0] if name != "damaged"]
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*["–" if row[name] is None else escape(str(row[name])) for name in columns])
    console.print(table)


def names(kind: str, registry: Registry[Any]) -> None:
    """The names of one registry with their options."""
    table = Table("name", "options", "what it is", title=kind, title_justify="left", box=None)
    for name in registry:
        entry = registry[name]
        options = ", ".join(f"{n}={_default_of(f)}" for n, f in entry.options.model_fields.items())
        table.add_row(name, escape(options), escape(entry.summary))
    console.print(table)


def _default_of(field: Any) -> str:
    return "(required)" if field.is_required() else repr(field.get_default(call_default_factory=True))
