"""Commands around a spec: init, check, plan, schema, names, run."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sweeps.planning import Plan

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="YAML file of the sweep.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field.")]
Storage = Annotated[str | None, typer.Option("--storage", help="Instead of RMT_STORAGE and the spec's storage.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (run, plan, check, init, names, schema):
        app.command()(command)


def run(
    spec: SpecFile,
    set_: Overrides = None,
    storage: Storage = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster; default RAY_ADDRESS, else one started here.")
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow; default MLFLOW_TRACKING_URI, else the spec's.")
    ] = None,
) -> None:
    """Train what is not recorded yet. The same command again goes on where it was."""
    import sweeps
    from sweeps.cli import show

    loaded = sweeps.load_spec(spec, overrides=set_ or ())
    with show.live() as display:
        done = sweeps.run(
            loaded,
            storage=storage,
            address=address,
            tracking_uri=tracking_uri,
            show=display.update,
            on_plan=show.plan,
        )
    show.launch(done, command=f"sweeps run {spec}")
    if not done.complete:
        raise typer.Exit(0 if done.why else 130)
    if done.statuses["failed"]:
        raise typer.Exit(1)


def plan(
    spec: SpecFile,
    set_: Overrides = None,
    storage: Storage = None,
    as_json: AsJson = False,
    trials: Annotated[bool, typer.Option("--trials", help="List every trial.")] = False,
) -> None:
    """Say what a launch would train and cost, and what is recorded already. Starts nothing."""
    import sweeps
    from sweeps import storage as storages
    from sweeps.cli import show
    from sweeps.forks import plan_forks
    from sweeps.price import price

    made, progress = sweeps.plan(sweeps.load_spec(spec, overrides=set_ or ()), storage=storage)
    folder = storages.resolve(storage, made.spec.storage) / made.spec.name
    forks = plan_forks(made, progress, folder, made.spec.resources)
    cost = price(made, progress, folder)
    if as_json:
        known = {"recorded": dict(progress.counts), "others": progress.others, "price": asdict(cost)}
        known["forks"] = {"starts": forks.starts, "saved": forks.saved, "total": forks.total}
        typer.echo(json.dumps(made.document() | known, indent=1))
        return
    show.plan(made, progress)
    if forks.starts:
        typer.echo(forks.line())
    if made.search is None or cost.trials:
        typer.echo(cost.line())
    _warn(made)
    if trials:
        show.plan_trials(made, progress)


def check(spec: SpecFile, set_: Overrides = None) -> None:
    """Check a spec as a whole: fields, names, both ends of every dimension."""
    import sweeps

    loaded = sweeps.load_spec(spec, overrides=set_ or ())
    made, _ = sweeps.plan(loaded)
    size = f"{len(made)} trials, {made.replicates} replicates"
    if made.search is not None:
        size = f"{loaded.design.options['trials']} trials at most, chosen as it goes"
    typer.echo(f"{spec} is a valid sweep: {loaded.name}, {size}")
    _warn(made)


def _warn(made: Plan) -> None:
    from sweeps.cautions import cautions

    for sentence in cautions(made):
        typer.secho(f"warning: {sentence}", fg="yellow", err=True)


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("sweep.yaml"),
) -> None:
    """Write a commented spec to start from."""
    from sweeps.errors import SweepError

    if path.exists():
        raise SweepError(f"{path} exists already; choose another name")
    path.write_text(resources.files("sweeps").joinpath("template.yaml").read_text(), encoding="utf-8")
    typer.echo(f"wrote {path}; next: sweeps plan {path}")


def names(kind: Annotated[str | None, typer.Argument(help="Only this kind.")] = None) -> None:
    """List what a spec can name: data sets, architectures, rules, ... with their options."""
    from sweeps.cli import show
    from sweeps.registries import registries

    known = registries()
    if kind is not None and kind not in known:
        from sweeps.errors import SweepError

        raise SweepError(f"unknown kind {kind!r}; known: {', '.join(known)}")
    for name, registry in known.items():
        if kind in (None, name):
            show.names(name, registry)


def schema() -> None:
    """Print the JSON schema of a spec, for editors."""
    from sweeps.spec import SweepSpec

    document: dict[str, Any] = SweepSpec.model_json_schema()
    typer.echo(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **document}, indent=1))
