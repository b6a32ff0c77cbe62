"""How answers look on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeps.metrics import STATISTICS
from sweeps.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from rmt.registry import Registry
    from sweeps.answers import Answer
    from sweeps.failures import Failure
    from sweeps.launch import Launch
    from sweeps.planning import Plan, Progress
    from sweeps.progress import SweepProgress

# A file or a pipe has no width: rows stay whole there.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
aside = Console(highlight=False, stderr=True, width=None if sys.stderr.isatty() else 240)
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
# A log that is not a terminal gets a line when something has changed, at most this often.
LOG_SECONDS = 10.0
WATCH_SECONDS = 2.0


class Display:
    """Shows the progress of a sweep: one live line on a terminal, a line now and then in a log."""

    def __init__(self) -> None:
        self._status = console.status("starting") if console.is_terminal else None
        self._logged = 0.0

    def update(self, progress: SweepProgress) -> None:
        """Show the progress as it is now."""
        if self._status is not None:
            self._status.start()
            self._status.update(escape(progress.line()))
        elif time.monotonic() - self._logged >= LOG_SECONDS or len(progress.outcomes) == progress.trials:
            self._logged = time.monotonic()
            console.print(escape(progress.line()), soft_wrap=True)

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._status is not None:
            self._status.stop()


@contextmanager
def live() -> Iterator[Display]:
    """A display for the duration of a launch."""
    display = Display()
    try:
        yield display
    finally:
        display.stop()


def plan(made: Plan, progress: Progress) -> None:
    """Size of a plan, and what is recorded of it."""
    from sweeps.replication import line

    twins = sum(trial.role == "twin" for trial in made)
    console.print(
        f"[bold]{made.spec.name}[/]: {counted(len(made), 'trial')} ({counted(twins, 'unpruned twin')}), "
        f"{counted(made.replicates, 'replicate')}"
    )
    if made.points_left_out:
        console.print(f"budget.max_trials leaves {counted(made.points_left_out, 'point')} of the design out")
    if made.search is not None:
        most = made.spec.design.options["trials"]
        drawn = {event["ask"] for event in made.search["events"] if "ask" in event}
        recorded = sum(trial.trial_id in drawn and not progress.to_train(trial) for trial in made)
        console.print(
            f"{made.spec.design.kind}: {most} trials at most, chosen as it goes; {recorded} are recorded"
        )
    to_train = sum(len(progress.to_train(trial)) for trial in made)
    states = ", ".join(f"{count} {state}" for state, count in sorted(progress.counts.items()))
    console.print(f"states: {states}; a launch trains {to_train}")
    if adaptive := line(made):
        console.print(adaptive, soft_wrap=True)
    if progress.others:
        console.print(
            f"{progress.others} records of other configurations stay as they are and are not part of this"
            if progress.others > 1
            else "1 record of another configuration stays as it is and is not part of this"
        )


def plan_trials(made: Plan, progress: Progress) -> None:
    """Every trial of a plan."""
    table = Table("trial", "role", *made.spec.space, "replicates", "to train", box=None)
    for trial in made:
        point = [_short(trial.point.get(path, "")) for path in made.spec.space]
        table.add_row(
            trial.trial_id, trial.role, *point, str(len(trial.replicates)), str(len(progress.to_train(trial)))
        )
    console.print(table)


def launch(done: Launch, *, command: str, retry: str | None = None) -> None:
    """What a launch has done, and where to go on; `retry` is what it was limited to."""
    from sweeps import compare, nodes
    from sweeps.failures import failures
    from sweeps.progress import duration
    from sweeps.ranking import best
    from sweeps.storage import shown

    name, storage = done.plan.spec.name, done.storage
    if not done.complete:
        why = done.why or "interrupted"
        console.print(f"{escape(why)}; everything finished is kept. Go on with: [bold]{escape(command)}[/]")
    elif done.trained:
        console.print(f"trained {counted(done.trained, 'replicate')} in {duration(done.wall_seconds)}")
    elif retry:
        console.print(f"nothing to retry: no latest attempt at a replicate ended so ({retry})")
    else:
        console.print("nothing to train: every replicate has its record")
    console.print("replicates: " + ", ".join(f"{n} {state}" for state, n in sorted(done.statuses.items())))
    where = "" if str(storage) == str(_default()) else f" --storage {shown(storage)}"
    if done.statuses["failed"]:
        planned = ((trial.trial_id, one.replicate_id) for trial in done.plan for one in trial.replicates)
        _failures(failures(storage / name, planned))
        console.print(f"with tracebacks: sweeps logs {name} TRIAL{where}", soft_wrap=True)
    for sentence in nodes.told(storage / name, done.started):
        console.print(escape(sentence), soft_wrap=True)
    if done.report is None:
        return
    if done.statuses["finished"]:
        answers(best(name, storage=storage))
    else:
        console.print(
            f"no replicate has finished; see what happened: sweeps logs {name} TRIAL{where}", soft_wrap=True
        )
    if done.plan.spec.baseline and done.complete and done.statuses["finished"]:
        verdicts(compare(name, storage=storage))
        console.print(f"in full: [bold]sweeps compare {name}{where}[/]", soft_wrap=True)
    if done.lag is not None and not done.lag.is_complete:
        console.print(
            f"MLflow is behind: {escape(str(done.lag))}. Catch up with: sweeps sync {name}{where}{_store(done)}",
            soft_wrap=True,
        )
    console.print(f"report:    {done.report}", soft_wrap=True)
    console.print(f"MLflow UI: [bold]sweeps ui {name}{where}{_store(done)}[/]", soft_wrap=True)


def _store(done: Launch) -> str:
    """The option that leads to the MLflow of a launch, where a command would not find it by itself."""
    from sweeps.tracking.client import without_password
    from sweeps.tracking.store import sweep_uri

    uri = done.tracking_uri
    if uri is None or uri == sweep_uri(done.storage, done.plan.spec.name):
        return ""
    return f" --tracking-uri {without_password(uri)}"


def _failures(found: Sequence[Failure]) -> None:
    """Why replicates failed."""
    from sweeps.failures import lines

    for line in lines(found):
        console.print(escape(f"  {line}"), soft_wrap=True)


def _default() -> Any:
    from sweeps import storage

    return storage.resolve(None)


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
            *(_short({**answer.group, **answer.point}.get(path, "")) for path in dimensions),
        )
    console.print(table)
    if found[0].selected_on_test:
        console.print("[bold]selected on the test set[/]: its test metrics are optimistic")


def left_out(sentences: Sequence[str]) -> None:
    """Say on standard error what is not among the answers."""
    for sentence in sentences:
        typer.echo(f"left out: {sentence}", err=True)


def _interval(row: Mapping[str, float], metric: str) -> str:
    mean, high = row.get(f"{metric}.mean"), row.get(f"{metric}.ci_high")
    if mean is None:
        return "–"
    return f"{mean:.4f}" if high is None else f"{mean:.4f} ± {high - mean:.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.4f}"


def _short(value: object) -> str:
    if isinstance(value, Mapping) and "kind" in value:
        options = ", ".join(f"{name}={_short(option)}" for name, option in value.items() if name != "kind")
        return escape(f"{value['kind']}({options})" if options else str(value["kind"]))
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def frame(table: pd.DataFrame, metric: str | None = None) -> None:
    """A table of trials or replicates: names, what varies in the configuration, and the numbers asked for most.

    Args:
        table: A row a trial or replicate.
        metric: Shown first, with its interval.
    """
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
        shown.add_row(*["" if is_missing(value) else _short(value) for value in row])
    console.print(shown)
    if len(chosen) < table.shape[1]:
        console.print(f"{table.shape[1] - len(chosen)} more columns with --format csv, json or yaml, or --parquet")


def is_missing(value: object) -> bool:
    """Whether a cell of a table holds nothing."""
    return value is None or str(value) in ("<NA>", "nan")


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
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*[escape(str(value)) for value in row.values()])
    console.print(table)


def status(found: Mapping[str, Any]) -> None:
    """How far a sweep is."""
    from sweeps.failures import Failure

    for field, value in found.items():
        if field == "failures":
            console.print(f"{field}:")
            _failures([Failure(**failure) for failure in value])
        else:
            console.print(f"{field}: {escape(str(value))}", soft_wrap=True)


def watch(
    ask: Callable[[], dict[str, Any]], every: float = WATCH_SECONDS, *, on: Console = console
) -> dict[str, Any]:
    """Show how far a sweep is, again and again, until nothing is left to train; returns the last state.

    On a terminal it is one live line, elsewhere a line whenever something has changed.
    """
    shown = ""
    with on.status("") if on.is_terminal else nullcontext() as line:
        while True:
            found = ask()
            states = ", ".join(f"{count} {state}" for state, count in found["states"].items())
            said = f"{found['sweep']}: {found['recorded']}/{found['replicates']} replicates ({states})"
            if line is not None:
                line.update(escape(said))
            elif said != shown:
                on.print(escape(said), soft_wrap=True)
            shown = said
            if found["recorded"] >= found["replicates"]:
                return found
            time.sleep(every)


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
