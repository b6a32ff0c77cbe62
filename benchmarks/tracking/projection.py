"""The projection against Ray's callback, and how long a trial waits for it."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from benchmarks.tracking.common import EPOCHS, EXTRA, REPLICATES, finished, fresh, say, timed
from sweeps import tracking, ui
from sweeps.records import Recorder
from sweeps.tracking.store import store_uri
from tests.sweeps.tracking.recorded import Replicate, SweepOnDisk
from tests.sweeps.tracking.test_postgres import postgres


def ray_callback(uri: str, sweep: SweepOnDisk) -> None:
    """The same replicates through Ray's callback, as a sweep on Tune would have logged them."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.experiment import Trial

    callback = MLflowLoggerCallback(tracking_uri=uri, experiment_name="ray", save_artifact=False)
    callback.setup()
    for replicate in sweep.replicates():
        trial = Trial("benchmark", config={"lr": 0.1}, stub=True)
        callback.log_trial_start(trial)
        for row in replicate.rows(EPOCHS):
            result = {k: v for k, v in (row | EXTRA).items() if k not in ("epoch", "time")}
            callback.log_trial_result(row["epoch"], trial, result | {"training_iteration": row["epoch"]})
        callback.log_trial_end(trial)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # the callback sets it, for everything after


def projection(folder: Path, template: Path, *, with_postgres: bool) -> None:
    work = REPLICATES * EPOCHS
    storage = fresh(folder / "sqlite", template)
    sweep = finished(storage)
    wall, cpu = timed(lambda: tracking.project(storage, sweep.name))
    say("projection, SQLite: replicate-epochs a second (wall; CPU)", f"{work / wall:.0f}; {work / cpu:.0f}")
    other = fresh(folder / "ray", template)
    ray_wall, ray_cpu = timed(lambda: ray_callback(store_uri(other), sweep))
    say(
        "Ray's MLflowLoggerCallback on the same, SQLite (wall; CPU)",
        f"{work / ray_wall:.0f}; {work / ray_cpu:.0f}",
    )
    say("projection is faster than the callback by (wall; CPU)", f"{ray_wall / wall:.1f}x; {ray_cpu / cpu:.1f}x")
    if with_postgres:
        extra = ["--artifacts-destination", str(folder / "artifacts")]
        with postgres() as database, ui.server(database, extra=extra) as address:
            wall, _ = timed(lambda: tracking.project(storage, sweep.name, address))
            say("projection, PostgreSQL behind `mlflow server` (wall)", f"{work / wall:.0f}")


def wait_of_a_trial(folder: Path) -> None:
    """A trial only writes files, whatever the server does; its longest write while the server is down."""
    sweep = SweepOnDisk(folder / "down", seeds=20, epochs=EPOCHS, points={"training.optimiser.lr": [0.1]})
    projector = tracking.start_projector(sweep.storage, sweep.name, f"http://127.0.0.1:{ui.free_port()}")
    waits = [wait for replicate in sweep.replicates() for wait in recorded(replicate)]
    projector.process.terminate()
    projector.finish(10)
    say(f"longest wait of a trial on recording, server down, {len(waits)} epochs", f"{max(waits) * 1e3:.1f} ms")
    say("median wait", f"{statistics.median(waits) * 1e3:.2f} ms")


def recorded(replicate: Replicate) -> list[float]:
    recorder = Recorder(replicate.folder)
    waits = []
    for row in replicate.rows(EPOCHS):
        begun = time.perf_counter()
        recorder.append(row)
        waits.append(time.perf_counter() - begun)
        time.sleep(0.002)
    return waits
