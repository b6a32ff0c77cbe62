"""Commands around a finished sweep: report, bundle, verify, promote, export, sync, ui, delete."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sweeps.cli.asking import From, Name, Source, Uri
from sweeps.cli.looking import number_or_name
from sweeps.cli.options import taking
from sweeps.cli.running import Storage


class ReportFormat(StrEnum):
    """What a report is written as."""

    HTML = "html"
    LATEX = "latex"


Trial = Annotated[str | None, typer.Option(help="Trial, or the beginning of its name; default the best.")]
Replicate = Annotated[
    str | None, typer.Option(help="Number in the order of seeds, or beginning of its name; default the best.")
]


@dataclass(frozen=True)
class Which:
    """Which replicate, and where it is read."""

    trial: Trial = None
    replicate: Replicate = None
    source: From = Source.RECORDS
    tracking_uri: Uri = None
    storage: Storage = None

    @property
    def number(self) -> str | int | None:
        """The replicate by name or number."""
        return number_or_name(self.replicate)

    def place(self) -> dict[str, Any]:
        """Where, as `origin_of` takes it."""
        return {"source": self.source.value, "uri": self.tracking_uri, "storage": self.storage}


class ExportFormat(StrEnum):
    """What a network is written as."""

    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch_export"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (report, bundle, verify, sync, ui, delete, promote, export):
        app.command()(command)


def report(
    name: Name,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Instead of the sweep's folder.")] = None,
    format_: Annotated[
        ReportFormat, typer.Option("--format", help="latex: a folder of tables, methods and figures (PDF, PNG).")
    ] = ReportFormat.HTML,
    margin: Annotated[
        float | None, typer.Option(help="Difference of means that is none in practice: show equivalence.")
    ] = None,
    storage: Storage = None,
) -> None:
    """Write the report: one HTML file that opens from disk, or the files for a paper."""
    import sweeps

    if format_ is ReportFormat.HTML:
        typer.echo(sweeps.write_report(name, storage=storage, to=output, margin=margin))
    else:
        for path in sweeps.write_paper(name, storage=storage, to=output, margin=margin):
            typer.echo(path)


def bundle(
    name: Name,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: NAME.zip here.")] = None,
    storage: Storage = None,
) -> None:
    """Write spec, tables, findings, report and digests into one file that can be verified elsewhere."""
    from sweeps.bundle import write_bundle

    typer.echo(write_bundle(name, output or Path(f"{name}.zip"), store=storage))


def verify(file: Annotated[Path, typer.Argument(help="A bundle.")]) -> None:
    """Check a bundle's digests and compute every finding again from its tables; status 1 where they differ."""
    from sweeps.bundle import verify as check

    found = check(file)
    for line in (*found.problems, *found.notes):
        typer.echo(line)
    outcome = "holds" if found.holds else f"differs in {len(found.problems)} places"
    typer.echo(f"{file}: {found.files} files, {found.findings} findings computed again: {outcome}")
    if not found.holds:
        raise typer.Exit(1)


@taking(Which)
def promote(
    name: Name,
    which: Which,
    model: Annotated[str, typer.Option("--as", metavar="MODEL", help="Name in MLflow's model registry.")],
) -> None:
    """Register a pruned network in MLflow's registry, with its configuration and evidence as tags."""
    from sweeps.promotion import promote as promote_replicate

    done = promote_replicate(name, model, trial=which.trial, replicate=which.number, **which.place())
    typer.echo(f"{done.address}: replicate {done.replicate_id} of trial {done.trial_id}")
    for key, value in done.evidence.items():
        typer.echo(f"  {key} {value}")


@taking(Which)
def export(
    name: Name,
    which: Which,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    form: Annotated[ExportFormat, typer.Option("--format", help="torchscript or torch_export.")] = (
        ExportFormat.TORCHSCRIPT
    ),
) -> None:
    """Write a pruned network to a file that needs none of this code, and measure latency before and after."""
    from sweeps.networks import choose
    from sweeps.networks import export as export_network
    from sweeps.origin import origin_of

    done = export_network(choose(origin_of(name, **which.place()), which.trial, which.number), output, form.value)
    typer.echo(json.dumps(done, indent=1))


def sync(
    name: Name,
    follow: Annotated[bool, typer.Option(help="Go on until the sweep ends.")] = False,
    rebuild: Annotated[bool, typer.Option(help="Delete the sweep's runs first.")] = False,
    tracking_uri: Uri = None,
    storage: Storage = None,
) -> None:
    """Bring MLflow up to date with the records."""
    from sweeps.overview import sync_sweep

    lag = sync_sweep(name, storage, tracking_uri, follow=follow, rebuild=rebuild)
    typer.echo(str(lag))
    if not lag.is_complete:
        raise typer.Exit(1)


def ui(
    name: Annotated[str | None, typer.Argument(help="Sweep to land on.")] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 5000,
    tracking_uri: Uri = None,
    storage: Storage = None,
) -> None:
    """Serve the MLflow UI on this machine and print a link to the sweep's trials."""
    from sweeps import storage as storages
    from sweeps.ui import serve

    serve(storages.resolve(storage), name, port, uri=tracking_uri)


def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    tracking_uri: Uri = None,
    storage: Storage = None,
) -> None:
    """Delete a sweep: records and MLflow runs together. Asks first."""
    from sweeps import overview

    found = overview.status_of(name, storage)
    if not yes:
        typer.confirm(
            f"Delete {name}: {found['recorded']} records in {found['storage']} and their runs?", abort=True
        )
    overview.delete_sweep(name, storage, tracking_uri)
    typer.echo(f"deleted {name}")
