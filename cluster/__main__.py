"""`python -m cluster`: machines for sweeps from the shell."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster import certificates, credentials, local_cluster, probe, serve, state
from cluster.client import reach
from cluster.doctor import examine_cluster, render
from cluster.errors import ClusterError, WaitTimedOut

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)

StateFolder = Annotated[
    Path | None,
    typer.Option("--state", help="state folder; default $RMT_CLUSTER_STATE or .cluster", show_default=False),
]


@app.command()
def init(
    tls: Annotated[bool, typer.Option("--tls", help="an authority for TLS between Ray's nodes, too")] = False,
    state_folder: StateFolder = None,
) -> None:
    """Make the state folder and the secrets in it; those that exist are kept."""
    folder = (state_folder or state.default_folder()).absolute()
    with state.exclusive(folder):
        made = credentials.initialise(folder)
        if tls:
            made += certificates.make_authority(folder / credentials.FOLDER)
    for path in made:
        print(f"made {path}")
    if not made:
        print(f"all secrets are in {folder / credentials.FOLDER}")


@app.command()
def certificate(
    folder: Annotated[Path, typer.Argument(help="where key and certificate go")],
    names: Annotated[str, typer.Option(help="comma-separated further names of this machine")] = "",
    state_folder: StateFolder = None,
) -> None:
    """Make a certificate of this machine's for a cluster with TLS, and print the variables that use it."""
    authority = (state_folder or state.default_folder()).absolute() / credentials.FOLDER
    made = certificates.issue(authority, folder.absolute(), [name for name in names.split(",") if name])
    for name, value in made.environment.items():
        print(f"export {name}={shlex.quote(value)}")


@app.command()
def up(
    nodes: Annotated[int, typer.Option(help="Ray nodes on this machine, the head included")] = 1,
    cpus: Annotated[
        int | None,
        typer.Option(help="CPUs each node offers; default: this machine's shared out", show_default=False),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Ray's gRPC by TLS")] = False,
    state_folder: StateFolder = None,
) -> None:
    """Start Ray nodes and an MLflow server on this machine, and return when they are ready."""
    here = local_cluster.up(nodes=nodes, cpus=cpus, state_folder=state_folder, tls=tls)
    print(f"{here.state.nodes} Ray node(s) at {here.state.ray_address}, MLflow at {here.state.mlflow_uri}")
    for path in here.secret_variables.values():
        print(f"MLflow's user is {credentials.MLFLOW_USER}, the password is in {path}")
    print('use it:  eval "$(python -m cluster env)"      end it:  python -m cluster down')


@app.command()
def down(state_folder: StateFolder = None) -> None:
    """End what `up` started here, with every process that it started."""
    print(f"ended {local_cluster.down(state_folder=state_folder)} service(s)")


@app.command()
def status(state_folder: StateFolder = None) -> None:
    """Say what runs; exit status 1 unless everything that `up` started does."""
    here = local_cluster.current(state_folder=state_folder)
    alive = here.alive_nodes()
    for name, service in here.services.items():
        word = "running" if service.process else f"ENDED, see {service.log}"
        print(f"{name:14} pid {service.pid:<8} {word}")
    for node in alive:
        print(f"node {node.address:15} {node.cpus:g} CPUs, {node.gpus:g} GPUs{', head' if node.is_head else ''}")
    well = all(service.process for service in here.services.values()) and len(alive) == here.state.nodes
    print(f"{len(alive)} of {here.state.nodes} nodes alive")
    raise typer.Exit(0 if well else 1)


@app.command()
def env(
    as_json: Annotated[bool, typer.Option("--json", help="as one JSON object, secrets in it")] = False,
    state_folder: StateFolder = None,
) -> None:
    """Print the variables a client needs, for `eval` in a shell."""
    here = local_cluster.current(state_folder=state_folder)
    if as_json:
        print(json.dumps(here.environment))
        return
    for name, value in here.variables.items():
        print(f"export {name}={shlex.quote(value)}")
    for name, path in here.secret_variables.items():
        print(f'export {name}="$(cat {shlex.quote(str(path))})"')


@app.command()
def wait(
    nodes: Annotated[int, typer.Option(min=1, help="nodes that must be alive, the head included")],
    timeout: Annotated[float, typer.Option(min=0, help="seconds to wait at most")] = 60.0,
    state_folder: StateFolder = None,
) -> None:
    """Wait for that many nodes in the cluster of the state folder, else of $RAY_API_SERVER_ADDRESS."""
    client = reach(state_folder)
    try:
        probe.wait_for(lambda: len(client.alive_nodes()) >= nodes, what=f"{nodes} node(s) alive", timeout=timeout)
    except WaitTimedOut as error:
        raise WaitTimedOut(f"{error}; {client.roll_call(nodes)}") from error
    print(f"{len(client.alive_nodes())} node(s) alive")


@app.command()
def doctor(
    storage: Annotated[
        str | None,
        typer.Option(help="a sweep's storage that every node must be able to write", show_default=False),
    ] = None,
    state_folder: StateFolder = None,
) -> None:
    """Check that a cluster is closed, whole and ready; exit status 1 and advice where it is not."""
    findings = examine_cluster(reach(state_folder), storage)
    print(render(findings))
    raise typer.Exit(0 if all(finding.well for finding in findings) else 1)


@app.command(hidden=True)
def examine(storage: Annotated[str | None, typer.Option(show_default=False)] = None) -> None:
    """Ask every node, from a node: what `doctor` runs on the cluster."""
    from cluster import examine as nodes

    print(nodes.render(nodes.examine_all(storage)))


@app.command(name="serve", add_help_option=False, context_settings={"ignore_unknown_options": True})
def serve_(service: str, options: Annotated[list[str] | None, typer.Argument(show_default=False)] = None) -> None:
    """Become a service: ray-head, ray-worker or mlflow (`serve SERVICE --help` lists its options)."""
    serve.become(serve.parse(service, options or []))


@app.command()
def healthy(url: str) -> None:
    """Exit status 0 if a health address answers 200, for container health checks."""
    code, text = probe.get(url)
    if code != 200:
        print(f"{url}: {code or 'no answer'} {text[:200]}", file=sys.stderr)
        raise typer.Exit(1)


def main() -> None:
    """The command; an error is one line on the error output and exit status 2."""
    try:
        app()
    except (ClusterError, PermissionError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
