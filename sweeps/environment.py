"""Where and with what a replicate was trained."""

from __future__ import annotations

import functools
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("rmt-sweeps", "torch", "torchvision", "numpy", "scipy", "ray", "mlflow", "optuna")

LONGEST_DIFF = 1_000_000
HERE = Path(__file__).parent


@functools.cache
def environment() -> dict[str, Any]:
    """Host, processor, versions, git commit and whether the checkout differs from it."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        **_checkout(),
    }


def _cpu() -> str:
    """Name of the processor: which instructions it has decides the last bits of sums."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def packages() -> str:
    """Every installed distribution with its version, one a line, as `pip install -r` reads them."""
    found = {f"{one.metadata['Name']}=={one.version}" for one in metadata.distributions()}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def changes(folder: Path = HERE) -> str | None:
    """What the checkout has that its commit has not, as a diff; None of a clean one, or where there is no git.

    Files that git does not know are named at its end, without their content. A diff of more than `LONGEST_DIFF`
    characters is cut, and says so in its last line.
    """
    if not _git("status", "--porcelain", folder=folder):
        return None
    diff = _git("diff", "HEAD", folder=folder) or ""
    cut = f"\n# cut here: {len(diff)} characters in all" if len(diff) > LONGEST_DIFF else ""
    unknown = _git("ls-files", "--others", "--exclude-standard", "--full-name", ":/", folder=folder)
    others = (unknown or "").splitlines()
    return "\n".join([diff[:LONGEST_DIFF] + cut, *(f"# not in git: {name}" for name in others), ""])


def _checkout() -> dict[str, Any]:
    """Commit of the source tree this package runs from; nulls when it was installed without one."""
    commit = _git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain")) if commit else None}


def _git(*arguments: str, folder: Path = HERE) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip("\n")
