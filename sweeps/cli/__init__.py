"""The command `sweeps`. It parses and prints; everything it does is one call of the library."""

from __future__ import annotations

import atexit
import gc
import sys

import typer

from sweeps.cli import asking, driving, keeping, looking, running

app = typer.Typer(
    name="sweeps",
    help="Sweeps over Marchenko–Pastur pruning of neural networks, with error bars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (running, driving, asking, looking, keeping):
    module.add_to(app)


def main() -> None:
    """Entry point: errors made on purpose are a sentence on standard error and exit status 2."""
    from rmt.errors import RmtError
    from sweeps.errors import SweepError

    atexit.register(gc.freeze)  # else all of torch is searched for cycles once more, half a second, before it goes
    try:
        app()
    except (SweepError, RmtError) as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("interrupted; whatever is recorded is kept, and the same command goes on", err=True)
        sys.exit(130)
