"""How answers look on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sweeps.cli.tables import answers, short, verdicts
from sweeps.cli.terminal import console
from sweeps.wording import counted, listed

if TYPE_CHECKING:
    from sweeps.failures import Failure
    from sweeps.launch import Launch
    from sweeps.planning import Plan, Progress
    from sweeps.progress import SweepProgress
    from sweeps.search.outlook import Outlook
    from sweeps.tracking import Lag

# A log that is not a terminal gets a line when something has changed, at most this often.
LOG_SECONDS = 10.0
WATCH_SECONDS = 2.0
MOST_NAMED = 5


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

    def wait(self, lag: Lag) -> None:
        """Say why a launch that has trained all has not ended: MLflow does not show everything yet."""
        if lag.is_complete:  # the projector has said so, and looks once more
            return
        line = f"waiting for MLflow; {lag}"
        if self._status is not None:
            self._status.start()
            self._status.update(escape(line))
        elif time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            console.print(escape(line), soft_wrap=True)

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
        f"{counted(made.replicates, 'replicate')}" + (" so far" if made.search is not None else "")
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
    states = ", ".join(f"{count} {state}" for state, count in sorted(progress.counts.items())) or "nothing yet"
    console.print(f"states: {states}; a launch trains {_to_train(made, progress)}", soft_wrap=True)
    if adaptive := line(made):
        console.print(adaptive, soft_wrap=True)
    if progress.others:
        console.print(
            f"{progress.others} records of other configurations stay as they are and are not part of this"
            if progress.others > 1
            else "1 record of another configuration stays as it is and is not part of this"
        )


def _to_train(made: Plan, progress: Progress) -> str:
    """How many replicates a launch trains; of a search how many at most, and of what."""
    left = [count for trial in made if (count := len(progress.to_train(trial)))]
    coming = made.outlook
    if coming is None or progress.only is not None or not (coming.left or coming.twins or coming.has_front):
        return str(sum(left))
    parts = [counted(len(left), "trial") + " begun or planned"] if left else []
    parts += [counted(len(coming.trials), "trial") + " to choose"] if coming.left else []
    parts += [counted(len(coming.twins), "twin") + " of the best"] if coming.twins else []
    said = f"{counted(sum(left) + coming.replicates, 'replicate')} at most ({', '.join(parts)})"
    if coming.has_front:
        said += ", and the twins of the trials on the front"
    if len(coming.trials) < coming.left:
        said += f"; {coming.left} trials are left and the space seems to have no more points"
    return said


def priced(coming: Outlook) -> None:
    """Say what the price of a search is the price of."""
    said = "trials that are to choose are priced as if drawn at random from the space"
    if coming.has_front:
        said += "; the twins of the front are not in the price"
    console.print(said, soft_wrap=True)


def plan_trials(made: Plan, progress: Progress) -> None:
    """Every trial of a plan."""
    table = Table("trial", "role", *made.spec.space, "replicates", "to train", box=None)
    for trial in made:
        point = [short(trial.point.get(path, "")) for path in made.spec.space]
        table.add_row(
            trial.trial_id, trial.role, *point, str(len(trial.replicates)), str(len(progress.to_train(trial)))
        )
    console.print(table)


def launch(done: Launch, *, command: str, retry: str | None = None) -> None:
    """What a launch has done; `retry` is what it was limited to."""
    from sweeps import compare, nodes
    from sweeps.failures import failures
    from sweeps.progress import duration
    from sweeps.ranking import best
    from sweeps.search.outlook import fell_short
    from sweeps.stopping import successes

    name, storage = done.plan.spec.name, done.storage
    if not done.complete:
        why = done.why or "interrupted"
        said = f"{escape(why)}; everything finished is kept. Go on with: [bold]{escape(command)}[/]"
        console.print(said, soft_wrap=True)
    elif done.trained:
        console.print(f"trained {counted(done.trained, 'replicate')} in {duration(done.wall_seconds)}")
    elif retry:
        console.print(f"nothing to retry: no latest attempt at a replicate ended so ({retry})")
    elif done.statuses:
        console.print("nothing to train: every replicate has its record")
    if done.complete and not retry and (said := fell_short(done.plan)):
        console.print(said, soft_wrap=True)
    console.print("replicates: " + ", ".join(f"{n} {state}" for state, n in sorted(done.statuses.items())))
    where = _where(done)
    if done.statuses["failed"]:
        planned = ((trial.trial_id, one.replicate_id) for trial in done.plan for one in trial.replicates)
        _failures(failures(storage / name, planned))
        console.print(f"with tracebacks: sweeps logs {name} TRIAL{where}", soft_wrap=True)
    if done.statuses["stopped"]:
        at_target = successes(storage / name, {trial.trial_id for trial in done.plan})
        _at_target({trial: stop.reason for trial, stop in at_target.items()})
    for sentence in nodes.told(storage / name, done.started):
        console.print(escape(sentence), soft_wrap=True)
    if done.report is None:
        return
    if done.statuses["finished"]:
        answers(best(name, planned=True, storage=storage))
    else:
        console.print(
            f"no replicate has finished; see what happened: sweeps logs {name} TRIAL{where}", soft_wrap=True
        )
    if done.plan.spec.baseline and done.complete and done.statuses["finished"]:
        verdicts(compare(name, storage=storage))
        console.print(f"in full: [bold]sweeps compare {name}{where}[/]", soft_wrap=True)


def whereabouts(done: Launch) -> None:
    """Where to look at what a launch has done, and what is not to be seen there yet."""
    if done.report is None:
        return
    name, where = done.plan.spec.name, _where(done)
    if done.lag is not None and not done.lag.is_complete:
        console.print(
            f"MLflow is behind: {escape(str(done.lag))}. Catch up with: sweeps sync {name}{where}{_store(done)}",
            soft_wrap=True,
        )
    console.print(f"report:    {done.report}", soft_wrap=True)
    console.print(f"MLflow UI: [bold]sweeps ui {name}{where}{_store(done)}[/]", soft_wrap=True)


def _where(done: Launch) -> str:
    """The option that leads to a launch's storage, where a command would not find it by itself."""
    from sweeps.storage import shown

    return "" if str(done.storage) == str(_default()) else f" --storage {shown(done.storage)}"


def _store(done: Launch) -> str:
    """The option that leads to the MLflow of a launch, where a command would not find it by itself."""
    from sweeps.tracking.client import without_password
    from sweeps.tracking.store import sweep_uri

    uri = done.tracking_uri
    if uri is None or uri == sweep_uri(done.storage, done.plan.spec.name):
        return ""
    return f" --tracking-uri {without_password(uri)}"


def _at_target(reasons: Mapping[str, str]) -> None:
    """Trials that stopped as they reached their target: none of the best, since they have no final numbers."""
    named = [f"trial {trial} ({reason})" for trial, reason in reasons.items()]
    if named:
        console.print(escape(f"stopped at the target: {listed(named, MOST_NAMED)}"), soft_wrap=True)


def _failures(found: Sequence[Failure]) -> None:
    """Why replicates failed."""
    from sweeps.failures import lines

    for line in lines(found):
        console.print(escape(f"  {line}"), soft_wrap=True)


def _default() -> Any:
    from sweeps import storage

    return storage.resolve(None)


def status(found: Mapping[str, Any]) -> None:
    """How far a sweep is."""
    from sweeps.failures import Failure

    for field, value in found.items():
        if field == "failures":
            console.print(f"{field}:")
            _failures([Failure(**failure) for failure in value])
        elif field == "at_target":
            _at_target({one["trial"]: one["reason"] for one in value})
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
