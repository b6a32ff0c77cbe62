"""`python -m rmt analyse CHECKPOINT`: the spectra of a network on disk, as a table and as pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rmt.errors import RmtError

SHOWN = {
    "layer": "layer",
    "rows": "rows",
    "cols": "cols",
    "spikes": "spikes",
    "singular_edge": "edge",
    "singular_threshold": "threshold",
    "fit_distance": "distance",
    "null_distance": "of noise",
    "spike_mass": "spike mass",
    "stable_rank": "stable rank",
    "hill_alpha": "alpha",
    "reason": "left because",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser("python -m rmt", description="Marchenko–Pastur analysis of networks.")
    commands = found.add_subparsers(dest="command", required=True)
    analyse = commands.add_parser(
        "analyse", help="table and pictures of a checkpoint's spectra", description=analyse_file.__doc__
    )
    analyse.add_argument("checkpoint", type=Path, help="a .safetensors file or a saved state dict")
    analyse.add_argument("--out", type=Path, help="folder for the pictures (default: beside the checkpoint)")
    analyse.add_argument("--csv", type=Path, help="file for the complete table")
    analyse.add_argument("--noise", default="bema_two_pass", help="noise estimator (%(default)s)")
    analyse.add_argument("--beta", type=float, default=0.1, help="noise above the threshold (%(default)s)")
    analyse.add_argument("--min-size", type=int, default=50, help="smallest side that is fitted (%(default)s)")
    analyse.add_argument("--no-pictures", action="store_true", help="the table only")
    return found


def analyse_file(options: argparse.Namespace) -> None:
    """Fit the Marchenko–Pastur law to every weight of a checkpoint; print a table, write pictures."""
    from rmt.analyse import analyse_layers, pictures, tabulate
    from rmt.checkpoint import load_state

    state = load_state(options.checkpoint)
    layers = analyse_layers(state, noise=options.noise, min_size=options.min_size, beta=options.beta)
    table = tabulate(layers)
    shown = table[list(SHOWN)].rename(columns=SHOWN)
    empty = shown.columns[shown.isna().all()]
    shown = shown.assign(**dict.fromkeys(empty, ""))  # pandas would write None into a column without numbers
    print(shown.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4g}"))
    if options.csv is not None:
        table.to_csv(options.csv, index=False)
        print(f"table: {options.csv}")
    if options.no_pictures:
        return
    folder = options.out or options.checkpoint.with_name(f"{options.checkpoint.stem}-spectra")
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures(layers):
        figure.savefig(folder / name)
    print(f"pictures: {folder}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 2 with a sentence on standard error when the input is at fault."""
    options = parser().parse_args(arguments)
    try:
        analyse_file(options)
    except (RmtError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
