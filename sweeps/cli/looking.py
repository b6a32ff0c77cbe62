"""Commands that look at sweeps and into them: list, status, logs, replay."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sweeps.cli.asking import Name
from sweeps.cli.driving import Elsewhere, elsewhere
from sweeps.cli.running import AsJson, Storage


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (status, logs, replay):
        app.command()(command)
    app.command("list")(list_)


def list_(storage: Storage = None, as_json: AsJson = False, address: Elsewhere = None) -> None:
    """The sweeps of a storage."""
    del address
    from sweeps.cli import tables
    from sweeps.overview import sweeps_of

    rows = sweeps_of(storage)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        tables.sweeps(rows)
        for row in rows:
            if "damaged" in row:
                typer.secho(f"warning: {row['sweep']}: {row['damaged']}", fg="yellow", err=True)


def status(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until every planned replicate has ended.")] = False,
    storage: Storage = None,
    as_json: AsJson = False,
    address: Elsewhere = None,
) -> None:
    """How far a sweep is: replicates by status, what is not in MLflow yet."""
    del address
    from sweeps.cli import show, terminal
    from sweeps.overview import status_of

    on = terminal.aside if as_json else terminal.console
    found = show.watch(lambda: status_of(name, storage), on=on) if watch else status_of(name, storage)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        show.status(found)


def logs(
    name: Name,
    trial: Annotated[
        str | None, typer.Argument(metavar="TRIAL", help="Trial, or the beginning of its name.")
    ] = None,
    storage: Storage = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="URL",
            help="Ask on the cluster whose dashboard is there, without TRIAL for what the sweep's job printed.",
        ),
    ] = None,
) -> None:
    """What happened: in a trial (status, reason, history and traceback of each replicate), or what failed."""
    from sweeps.overview import failures_of, log_of

    if trial is not None:
        elsewhere(address)
        typer.echo(log_of(name, trial, storage))
    elif address is not None:
        from sweeps.submission import log_of_driver

        typer.echo(log_of_driver(name, address=address))
    else:
        typer.echo(failures_of(name, storage))


def replay(
    name: Name,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Trial, or the beginning of its name.")],
    replicate: Annotated[
        str | None, typer.Option(help="Its name, the beginning of it, or its number from 0; else the first.")
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Without the stack it was trained in.")] = False,
    tolerance: Annotated[
        float | None, typer.Option(min=0, help="Relative; by default 0, and 0.01 when not trained as recorded.")
    ] = None,
    storage: Storage = None,
) -> None:
    """Train a recorded replicate again, here, and say whether its history is equal; exit status 1 if not."""
    from functools import partial

    from sweeps import replay as replays

    found = replays.replay(
        name,
        trial,
        number_or_name(replicate),
        alone=alone,
        tolerance=tolerance,
        root=storage,
        show=partial(typer.echo, err=True),
    )
    for line in found.lines():
        typer.echo(line)
    if not found.is_equal:
        raise typer.Exit(1)


def number_or_name(replicate: str | None) -> str | int | None:
    """A short number is a place in the order of seeds, anything else the beginning of a name."""
    return int(replicate) if replicate is not None and replicate.isdecimal() and len(replicate) < 5 else replicate
