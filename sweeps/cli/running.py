"""Commands around a spec: init, check, plan, schema, names, run."""

from __future__ import annotations

import json
import shlex
from contextlib import nullcontext
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.status import Retry
from sweeps.wording import counted

if TYPE_CHECKING:
    from sweeps.launch import Launch
    from sweeps.planning import Plan
    from sweeps.price_pilot import Pilot
    from sweeps.spec import SweepSpec

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="YAML file of the sweep.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field.")]
Storage = Annotated[str | None, typer.Option("--storage", help="Instead of RMT_STORAGE and the spec's storage.")]
Again = Annotated[
    Retry | None,
    typer.Option(help="Train only what ended so, again; the records of the attempts before are kept."),
]
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
    retry: Again = None,
) -> None:
    """Train what is not recorded yet. The same command again goes on where it was."""
    import sweeps
    from sweeps import tracking
    from sweeps.cli import show

    options = {"storage": storage, "address": address, "tracking_uri": tracking_uri, "retry": retry}
    with tracking.standby() as projector:  # MLflow's import takes as long as what is imported here to read a spec
        loaded = sweeps.load_spec(spec, overrides=set_ or ())
        with show.live() as display:

            def tell(done: Launch) -> None:
                display.stop()
                show.launch(done, command=repeated(spec, set_, **options), retry=retry)

            done = sweeps.run(
                loaded,
                **options,
                show=display.update,
                on_plan=show.plan,
                on_trained=tell,
                on_wait=display.wait,
                projector=projector,
            )
    show.whereabouts(done)
    if not done.complete:
        raise typer.Exit(0 if done.why else 130)
    if done.statuses["failed"]:
        raise typer.Exit(1)


def repeated(spec: Path, set_: list[str] | None = None, **options: str | None) -> str:
    """The command that launches again with what was given, ready for a shell.

    Args:
        spec: YAML file of the sweep.
        set_: Overrides.
        options: By name with underscores; None where one was not given. A password in an address is left out.
    """
    from sweeps.tracking.client import without_password

    words = ["sweeps", "run", str(spec)]
    for override in set_ or ():
        words += ["--set", override]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", without_password(value)]
    return shlex.join(words)


def plan(
    spec: SpecFile,
    set_: Overrides = None,
    storage: Storage = None,
    as_json: AsJson = False,
    trials: Annotated[bool, typer.Option("--trials", help="List every trial.")] = False,
    pilot: Annotated[
        bool, typer.Option("--pilot", help="Train a few epochs of each kind of trial that is not recorded yet.")
    ] = False,
    cpus: Annotated[float | None, typer.Option(min=0, help="Plan for so many CPUs, not this machine's.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="Plan for so many GPUs, not this machine's.")] = None,
) -> None:
    """Say what a launch would train, cost and show, and what is recorded. Only --pilot trains anything."""
    import sweeps
    from sweeps.planning import without_collection

    loaded = sweeps.load_spec(spec, overrides=set_ or ())
    with nullcontext() if pilot else without_collection():
        _plan(loaded, storage, as_json=as_json, trials=trials, pilot=pilot, cpus=cpus, gpus=gpus)


def _plan(
    spec: SweepSpec,
    storage: str | None,
    *,
    as_json: bool,
    trials: bool,
    pilot: bool,
    cpus: float | None,
    gpus: float | None,
) -> None:
    """Plan, price and print; all that it made is gone when it returns, before anything searches it for cycles."""
    import sweeps
    from sweeps import storage as storages
    from sweeps.cli import show
    from sweeps.planning_power import detectable
    from sweeps.price_quote import quote

    made, progress = sweeps.plan(spec, storage=storage)
    folder = storages.resolve(storage, made.spec.storage) / made.spec.name
    found = quote(made, progress, folder, cpus=cpus, gpus=gpus, with_pilot=pilot, tell=_tell)
    power = detectable(made)
    if as_json:
        known = {"recorded": dict(progress.counts), "others": progress.others, **found.document()}
        if made.outlook is not None:
            known["to_come"] = made.outlook.document()
        known["detectable"] = [one.document() for one in power]
        typer.echo(json.dumps(made.document() | known, indent=1))
        return
    show.plan(made, progress)
    if found.forks.starts:
        typer.echo(found.forks.line())
    if found.packed.sizes or made.spec.resources.pack != "never":
        typer.echo(found.packed.line())
    typer.echo(found.price.line())
    if made.outlook is not None and made.outlook.trials and found.price.seconds is not None:
        show.priced(made.outlook)
    for one in power:
        typer.echo(one.line())
    _warn(_cautions(made))
    if trials:
        show.plan_trials(made, progress)


def _tell(found: Pilot) -> None:
    typer.echo(found.line(), err=True)


def check(spec: SpecFile, set_: Overrides = None) -> None:
    """Check a spec as a whole: fields, names, both ends of every dimension."""
    import sweeps

    loaded = sweeps.load_spec(spec, overrides=set_ or ())
    made, _ = sweeps.plan(loaded)
    size = f"{counted(len(made), 'trial')}, {counted(made.replicates, 'replicate')}"
    if made.search is not None:
        size = f"{loaded.design.options['trials']} trials at most, chosen as it goes"
    typer.echo(f"{spec} is a valid sweep: {loaded.name}, {size}")
    _warn(_cautions(made))


def _cautions(made: Plan) -> list[str]:
    from sweeps.cautions import cautions

    return cautions(made)


def _warn(sentences: list[str]) -> None:
    for sentence in sentences:
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
    from sweeps.cli import tables
    from sweeps.registries import registries

    known = registries()
    if kind is not None and kind not in known:
        from sweeps.errors import SweepError

        raise SweepError(f"unknown kind {kind!r}; known: {', '.join(known)}")
    for name, registry in known.items():
        if kind in (None, name):
            tables.names(name, registry)


def schema() -> None:
    """Print the JSON schema of a spec, for editors."""
    from sweeps.spec import SweepSpec

    document: dict[str, Any] = SweepSpec.model_json_schema()
    typer.echo(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **document}, indent=1))
