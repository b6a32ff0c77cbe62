"""What the parts of the benchmark share: clocks, lines, stores and recorded replicates."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.sweeps.tracking.recorded import SweepOnDisk

EPOCHS, METRICS, REPLICATES = 30, 15, 50
EXTRA = {f"extra_{i}": 0.1 * i for i in range(METRICS - 11)}


def timed(what: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of a call in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - wall, time.process_time() - cpu


def say(name: str, value: str) -> None:
    print(f"{name:<72} {value}", flush=True)


def finished(storage: Path, name: str = "benchmark", replicates: int = REPLICATES) -> SweepOnDisk:
    """Replicates of 30 epochs and 15 metrics."""
    sweep = SweepOnDisk(
        storage, name, epochs=EPOCHS, seeds=replicates // 2, points={"training.optimiser.lr": [0.1]}
    )
    for replicate in sweep.replicates():
        replicate.append(row | EXTRA for row in replicate.rows(EPOCHS))
        replicate.finish()
    return sweep


def cpu_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def fresh(folder: Path, template: Path) -> Path:
    folder.mkdir()
    shutil.copy(template, folder / "mlflow.db")
    return folder
