"""Where the commands print: the terminal, or whatever takes its place."""

from __future__ import annotations

import sys

from rich.console import Console

# A file or a pipe has no width: rows stay whole there.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
aside = Console(highlight=False, stderr=True, width=None if sys.stderr.isatty() else 240)
