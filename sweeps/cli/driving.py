"""Commands around a driver, here or on a cluster: submit, stop, du."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from sweeps.cli.running import Again, AsJson, Overrides, SpecFile, Storage


def elsewhere(address: str | None) -> str | None:
    """Run this very command on the cluster at `address`, where the storage is, show its output, and end."""
    if address is None:
        return None
    from sweeps.submission import ask

    raise typer.Exit(ask(_without_address(sys.argv[1:]), address=address, show=typer.echo))


def _without_address(arguments: list[str]) -> list[str]:
    kept, values = [], iter(arguments)
    for argument in values:
        if argument == "--address":
            next(values, None)
        elif not argument.startswith("--address="):
            kept.append(argument)
    return kept


_ADDRESS: dict[str, Any] = {
    "metavar": "URL",
    "help": "Ask on the cluster whose dashboard is there: http://HOST:8265.",
}
Address = Annotated[str | None, typer.Option("--address", **_ADDRESS)]
Elsewhere = Annotated[str | None, typer.Option("--address", callback=elsewhere, is_eager=True, **_ADDRESS)]
_NOBODY, _NO_SWEEP = "nobody drives", "no sweep"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (submit, stop, du):
        app.command()(command)


def submit(
    spec: SpecFile,
    set_: Overrides = None,
    storage: Storage = None,
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="The cluster's dashboard; default RAY_API_SERVER_ADDRESS.")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow; default the cluster's MLFLOW_TRACKING_URI, else the spec's.")
    ] = None,
    retry: Again = None,
) -> None:
    """Run a sweep as a job of a cluster and return at once. It goes on without this machine."""
    import sweeps
    from sweeps import submission

    loaded = sweeps.load_spec(spec, overrides=set_ or ())
    job = submission.submit(loaded, address=address, storage=storage, tracking_uri=tracking_uri, retry=retry)
    place = submission.place_of(loaded, storage)
    at = f" --address {address}" if address else ""
    typer.echo(f"submitted {loaded.name} as {job}; it keeps its records in {place} on the cluster")
    for command, what in (
        (f"sweeps status {loaded.name} --storage {place}{at}", "how far it is"),
        (f"sweeps logs {loaded.name}{at}", "what its driver prints"),
        (f"sweeps stop {loaded.name} --storage {place}{at}", "to end it; finished work is kept"),
    ):
        typer.echo(f"  {command:<70} {what}")


def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep.")],
    timeout: Annotated[float, typer.Option(help="Seconds to wait for running epochs to end.")] = 120.0,
    storage: Storage = None,
    address: Address = None,
) -> None:
    """End a running sweep in order, wherever it is driven from: finished work is kept, launching goes on."""
    if address is not None:
        raise typer.Exit(_stop_on_cluster(name, storage, address, timeout))
    from sweeps import storage as storages
    from sweeps.lease import request_stop

    sweep = storages.sweep_folder(storages.resolve(storage), name)
    if request_stop(sweep, timeout=timeout):
        typer.echo(f"stopped {name}; what is recorded is kept, and launching it again goes on")
    else:
        typer.echo(f"{_NOBODY} {name}")


def _stop_on_cluster(name: str, storage: str | None, address: str, timeout: float) -> int:
    """Stop a sweep that is driven on a cluster; a job whose driver has not begun yet is ended as a job."""
    from sweeps.submission import ask, stop_jobs

    said: list[str] = []
    status = ask(_without_address(sys.argv[1:]), address=address, show=said.append)
    told = "\n".join(said)
    # Before its driver begins nobody holds the lease, and of a new sweep there is no folder.
    if (_NOBODY in told or _NO_SWEEP in told) and (
        jobs := stop_jobs(name, storage, address=address, timeout=timeout)
    ):
        typer.echo(f"stopped {name} before its driver began: job {', '.join(jobs)}")
        return 0
    typer.echo(told)
    return status


def du(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this sweep.")] = None,
    storage: Storage = None,
    as_json: AsJson = False,
    address: Elsewhere = None,
) -> None:
    """How much room sweeps take, by what takes it."""
    del address
    import json

    from rich.markup import escape
    from rich.table import Table

    from sweeps.cli.terminal import console
    from sweeps.disk import COLUMNS, TRACKING, usage

    found = usage(storage, name)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
        return
    table = Table("sweep", "total", *COLUMNS, TRACKING, box=None)
    for sweep, kinds in found.items():
        table.add_row(
            escape(sweep), *(_size(n) for n in (kinds.total(), *(kinds[k] for k in (*COLUMNS, TRACKING))))
        )
    console.print(table)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if count else "-"
        count /= 1000
    return f"{count:.3g} TB"
