"""How much room sweeps take, by what takes it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sweeps import storage

# By the name of a file or of a folder above it; what has no name here is `records`: small and never to be lost.
KINDS = {
    "checkpoint": "checkpoints",
    "spectra.npz": "spectra",
    "weights.safetensors": "weights",
    "test_correct.bin": "test answers",
    "report.html": "reports",
    "report.digest": "reports",
    "table.parquet": "reports",
}
COLUMNS = ("records", "spectra", "weights", "test answers", "checkpoints", "reports")
TRACKING = "tracking"


def usage(root: str | Path | None = None, name: str | None = None) -> dict[str, Counter[str]]:
    """Bytes by kind of each sweep of a storage; `mlflow` is the store that all of them share, when it is here.

    Args:
        root: Of the storage.
        name: Only this sweep.

    Raises:
        SweepNotFound: Lists the sweeps that are there.
    """
    place = storage.resolve(root)
    names = [storage.sweep_folder(place, name).name] if name else storage.sweeps_in(place)
    found = {each: _bytes(place / each) for each in names}
    if name is None:
        shared = sum(_size(path) for part in ("mlflow.db*", "artifacts/**/*") for path in place.glob(part))
        return found | ({"(mlflow)": Counter({TRACKING: shared})} if shared else {})
    return found


def _bytes(sweep: Path) -> Counter[str]:
    total: Counter[str] = Counter()
    for path, size in storage.sizes(sweep):
        total[_kind(path.relative_to(sweep))] += size
    return total


def _kind(path: Path) -> str:
    return next((KINDS[part] for part in reversed(path.parts) if part in KINDS), "records")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # a running sweep replaces its files
        return 0
