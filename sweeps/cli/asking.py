"""Commands that answer from what is recorded: best, trials, replicates, history, compare."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from sweeps.cli.options import taking
from sweeps.cli.running import AsJson, Storage

if TYPE_CHECKING:
    import pandas as pd

    from sweeps.answers import Answers

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep.")]
ToParquet = Annotated[Path | None, typer.Option(help="Write a parquet file.")]
OnTest = Annotated[
    bool, typer.Option("--select-on-test", help="Allow test metrics to choose; stamped on the answer.")
]


class Source(StrEnum):
    """Where answers come from."""

    RECORDS = "records"
    MLFLOW = "mlflow"


class TableFormat(StrEnum):
    """How answers are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    YAML = "yaml"


Where = Annotated[
    str | None, typer.Option(metavar="EXPR", help="Only those for which it holds: 'prune.rule == \"mp_edge\"'.")
]
From = Annotated[Source, typer.Option("--from", help="Records, or an MLflow they were projected to.")]
Uri = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow; default MLFLOW_TRACKING_URI, else the spec's.")
]


@dataclass(frozen=True)
class Asked:
    """What every question takes: which rows, and where they are read."""

    where: Where = None
    select_on_test: OnTest = False
    source: From = Source.RECORDS
    tracking_uri: Uri = None
    storage: Storage = None

    def question(self) -> dict[str, Any]:
        """As `sweeps.best`, `sweeps.trials` and the others take it."""
        return {
            "where": self.where,
            "select_on_test": self.select_on_test,
            "source": self.source.value,
            "uri": self.tracking_uri,
            "storage": self.storage,
        }


AnswerFormat = Annotated[TableFormat, typer.Option("--format", help="table, json, csv or yaml.")]


class Format(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    LATEX = "latex"
    MARKDOWN = "markdown"


class Correction(StrEnum):
    """How p values are corrected over all that was looked at."""

    HOLM = "holm"
    BENJAMINI_HOCHBERG = "benjamini_hochberg"
    NONE = "none"


class VarianceTest(StrEnum):
    """The test behind a verdict on variances."""

    BROWN_FORSYTHE = "brown_forsythe"
    PAIRED_BROWN_FORSYTHE = "paired_brown_forsythe"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (best, trials, replicates, history, compare):
        app.command()(command)


@taking(Asked)
def best(
    name: Name,
    asked: Asked,
    metric: Annotated[str | None, typer.Option(help="Instead of the objective's.")] = None,
    statistic: Annotated[str | None, typer.Option(help="mean, median, iqm, sd, ci_low or ci_high.")] = None,
    mode: Annotated[str | None, typer.Option(help="max or min.")] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="How many, of each group with --per.")] = 5,
    per: Annotated[str | None, typer.Option(metavar="PATH", help="The best of each value.")] = None,
    pareto: Annotated[
        str | None, typer.Option(metavar="A,B", help="The Pareto front of metrics; A:max,B:min for directions.")
    ] = None,
    allow_diverged: Annotated[
        bool, typer.Option(help="Do not rank trials with a diverged replicate last.")
    ] = False,
    planned: Annotated[bool, typer.Option("--planned", help="Only what the present plan asks for.")] = False,
    form: AnswerFormat = TableFormat.TABLE,
    as_json: AsJson = False,
    write: Annotated[Path | None, typer.Option(help="Write the best one as a spec to launch again.")] = None,
) -> None:
    """The best configurations, by a statistic over replicates."""
    import sweeps
    from sweeps.cli import tables

    answers = sweeps.best(
        name,
        metric=metric,
        statistic=statistic,
        mode=mode,
        k=k,
        per=per,
        pareto=pareto,
        allow_diverged=allow_diverged,
        planned=planned,
        **asked.question(),
    )
    if write is not None:
        write.write_text(answers[0].to_spec().to_yaml(resolved=True), encoding="utf-8")
        typer.echo(f"wrote {write}; launch it with: sweeps run {write}", err=True)
    _print_answers(answers, TableFormat.JSON if as_json else form)
    tables.left_out(answers.left_out, answers.included)


def _print_answers(answers: Answers, form: TableFormat) -> None:
    from sweeps.cli import tables

    documents = [answer.document() for answer in answers]
    if form is TableFormat.JSON:
        typer.echo(json.dumps(documents, indent=1))
    elif form is TableFormat.YAML:
        _print_yaml(documents)
    elif form is TableFormat.CSV:
        import pandas as pd

        from sweeps.document import flatten

        whole = ("statistics", "config")
        rows = [{k: v for k, v in one.items() if k not in whole} | one["statistics"] for one in documents]
        typer.echo(pd.DataFrame([flatten(row) for row in rows]).to_csv(index=False), nl=False)
    else:
        tables.answers(answers)


def _print_yaml(rows: list[dict[str, Any]]) -> None:
    import yaml

    typer.echo(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True), nl=False)


@taking(Asked)
def trials(
    name: Name,
    asked: Asked,
    metric: Annotated[str | None, typer.Option(help="Gets every statistic, instead of the objective's.")] = None,
    form: AnswerFormat = TableFormat.TABLE,
    as_json: AsJson = False,
    parquet: ToParquet = None,
) -> None:
    """A row a trial: statistics over its replicates."""
    import sweeps

    table = sweeps.trials(name, metric=metric, **asked.question())
    _print(table, TableFormat.JSON if as_json else form, parquet, metric)


@taking(Asked)
def replicates(
    name: Name,
    asked: Asked,
    form: AnswerFormat = TableFormat.TABLE,
    as_json: AsJson = False,
    parquet: ToParquet = None,
) -> None:
    """A row a replicate: configuration, seeds, status, final numbers."""
    import sweeps

    table = sweeps.replicates(name, **asked.question())
    _print(table, TableFormat.JSON if as_json else form, parquet)


@taking(Asked)
def history(
    name: Name,
    asked: Asked,
    metrics: Annotated[str | None, typer.Option(help="Comma-separated; all by default.")] = None,
    form: AnswerFormat = TableFormat.CSV,
    parquet: ToParquet = None,
) -> None:
    """Epochs of every replicate as a long table: a row an epoch and metric."""
    import sweeps

    chosen = [part.strip() for part in metrics.split(",")] if metrics else None
    table = sweeps.history(name, metrics=chosen, **asked.question())
    _print(table, form, parquet)


def _print(table: pd.DataFrame, form: TableFormat, parquet: Path | None, metric: str | None = None) -> None:
    from sweeps.cli import tables

    if parquet is not None:
        table.to_parquet(parquet, index=False)
        typer.echo(f"wrote {parquet}: {len(table)} rows", err=True)
    elif form is TableFormat.JSON:
        typer.echo(table.to_json(orient="records", indent=1))
    elif form is TableFormat.YAML:
        _print_yaml(json.loads(table.to_json(orient="records")))
    elif form is TableFormat.CSV:
        typer.echo(table.to_csv(index=False), nl=False)
    else:
        tables.frame(table, metric)
    tables.left_out(table.attrs.get("left_out", ()), table.attrs.get("included", ()))


def compare(
    name: Name,
    factor: Annotated[str, typer.Option(help="Dotted path whose values are compared.")] = "prune.rule",
    baseline: Annotated[str, typer.Option(help="The value the others are compared with.")] = "none",
    metric: Annotated[str, typer.Option(help="What is compared.")] = "test_accuracy",
    within: Annotated[str | None, typer.Option(help="Comma-separated paths that make the groups.")] = None,
    level: Annotated[float, typer.Option(help="Of the intervals; one minus it is that of the verdicts.")] = 0.95,
    correction: Annotated[Correction, typer.Option(help="Of p values over all arms.")] = Correction.HOLM,
    variance_test: Annotated[VarianceTest, typer.Option()] = VarianceTest.BROWN_FORSYTHE,
    margin: Annotated[
        float | None, typer.Option(help="Difference that is none in practice: test equivalence within it.")
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="table, json, csv, latex or markdown.")
    ] = Format.TABLE,
    storage: Storage = None,
) -> None:
    """Compare arms over replicates: means, paired differences, variances, and a sentence each."""
    import sweeps
    from sweeps.cli import tables
    from sweeps.statistics import render

    paths = tuple(part.strip() for part in within.split(",")) if within else None
    table = sweeps.compare(
        name,
        factor=factor,
        baseline=baseline,
        metric=metric,
        within=paths,
        level=level,
        correction=correction.value,
        variance_test=variance_test.value,
        margin=margin,
        storage=storage,
    )
    if format_ is Format.TABLE:
        tables.comparison(table)
    else:
        typer.echo(render(table, cast("Any", format_.value)))
        for caution in table.attrs["cautions"]:
            typer.echo(caution, err=True)
