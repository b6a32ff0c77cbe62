"""What tracking costs: python -m benchmarks.tracking [--quick] [--only PART]

Figures, on this machine: projection of replicates against Ray's `MLflowLoggerCallback`, on SQLite and
on PostgreSQL behind a server; the longest wait of a trial while the server is down; answers from MLflow at 10,000
and 100,000 replicates, and from 10,000 records; a real training on two cores with and without a projector beside
it. Nine minutes together. `--only beside`: the projector's CPU time beside a training in real time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from scipy.stats import binom

import sweeps
from sweeps import launch, tracking, ui
from sweeps.data import load
from sweeps.records import Recorder
from sweeps.spec import SweepSpec, build_spec
from sweeps.table import replicates_of
from sweeps.tracking.store import prepare, store_uri
from sweeps.trial import TrialRun
from tests.sweeps.tracking.recorded import Replicate, SweepOnDisk
from tests.sweeps.tracking.test_postgres import postgres

EPOCHS, METRICS, REPLICATES = 30, 15, 50
REPLICATE_SECONDS, PAIRS = 11.0, 9  # what is promised holds for replicates of 10 core-seconds or more
Clocks = tuple[float, float]
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


def beside_training(folder: Path, template: Path, seconds: float) -> None:
    """Two stacks of ten replicates train in real time, 10 core-seconds a replicate, on two cores."""
    storage = fresh(folder / "live", template)
    sweep = SweepOnDisk(storage, epochs=EPOCHS, seeds=10, points={"training.optimiser.lr": [0.1]})
    projector = tracking.start_projector(storage, sweep.name)
    process = psutil.Process(projector.process.pid)
    time.sleep(15)
    started = cpu_of(process)
    for epoch in range(1, EPOCHS + 1):
        for replicate in sweep.replicates():
            replicate.append([replicate.rows(epoch)[-1] | EXTRA])
        time.sleep(seconds / EPOCHS)
    for replicate in sweep.replicates():
        replicate.finish()
    projector.process.stdin.close()  # type: ignore[union-attr]
    spent = started
    while projector.process.poll() is None:
        spent = max(spent, cpu_of(process) if process.is_running() else spent)
        time.sleep(0.02)
    training = 2 * seconds
    say("CPU of the projector's start, once a sweep", f"{started:.1f} s")
    say(f"CPU of projecting beside {training:.0f} core-seconds of training", f"{(spent - started) / training:.2%}")


REAL: dict[str, Any] = {
    "data": {"kind": "fashion_mnist", "validation": 300},
    "model": {"kind": "mlp", "widths": [256, 128]},
    "training": {"epochs": EPOCHS, "batch_size": 32, "optimiser": {"kind": "sgd", "lr": 0.05}},
    "prune": {"rule": "mp_threshold", "aggressiveness": 0.8, "every": 5},
}
WORKERS = 2
PROBE = 500  # examples of the sweep that tells how many make a replicate of so many core-seconds


def real(name: str, examples: int) -> SweepSpec:
    """Two trials, a pruned one and its twin, of two replicates each: one trial for each of two workers."""
    trial = {**REAL, "data": {**REAL["data"], "train_size": examples}}
    plain = {"name": name, "trial": trial, "replicates": {"initialisation": 2}, "tracking": {"pictures": 0}}
    return build_spec(plain)


Job = tuple[Path, str, int]
Run = Callable[[Path, str, int], Clocks]


def work(worker: int, jobs: Queue[Job | None], ready: Barrier, done: Queue[Clocks]) -> None:
    """What one of a sweep's workers does, in a process of its own; says its wall and CPU time of each job."""
    torch.set_num_threads(1)
    while (job := jobs.get()) is not None:
        storage, name, examples = job
        trials, _ = launch.plan(real(name, examples), storage=storage)
        data = load(next(iter(trials)).spec.data)
        own = list(trials)[worker::WORKERS]
        runs = [TrialRun(trial, trial.replicates, data, sweep=storage / name) for trial in own]
        ready.wait()
        wall, cpu = time.perf_counter(), time.process_time()
        for run in runs:
            while run.step() is not None:
                pass
        done.put((time.perf_counter() - wall, time.process_time() - cpu))


@contextmanager
def workers() -> Iterator[Run]:
    """Train sweeps on two workers that stay; each gives their mean wall time and CPU time together."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(WORKERS), context.Queue()
    queues = [context.Queue() for _ in range(WORKERS)]
    processes = [
        context.Process(target=work, args=(worker, jobs, ready, done)) for worker, jobs in enumerate(queues)
    ]
    for process in processes:
        process.start()

    def run(storage: Path, name: str, examples: int) -> Clocks:
        for jobs in queues:
            jobs.put((storage, name, examples))
        walls, cpus = zip(*(done.get() for _ in processes), strict=True)
        return statistics.mean(walls), sum(cpus)

    try:
        yield run
    finally:
        for jobs in queues:
            jobs.put(None)
        for process in processes:
            process.join()


class Trained(NamedTuple):
    """Seconds of one sweep: its trainings', and the CPU time of its projector before, beside and after them."""

    wall: float
    cpu: float
    before: float = 0.0
    beside: float = 0.0
    after: float = 0.0


def trained(run: Run, storage: Path, name: str, examples: int, *, tracked: bool) -> Trained:
    """Train a sweep; its projector, if any, has begun before, as in a sweep, where it starts while Ray does."""
    made, _ = launch.plan(real(name, examples), storage=storage)
    launch._write_plan(storage / name, made)
    if not tracked:
        return Trained(*run(storage, name, examples))
    ended = os.times()
    projector = tracking.start_projector(storage, name)
    process = psutil.Process(projector.process.pid)
    while projector.lag() is None and projector.process.poll() is None:
        time.sleep(0.2)
    before = cpu_of(process)
    clocks = run(storage, name, examples)
    beside = cpu_of(process) - before
    lag = projector.finish()
    if not lag.is_complete:
        say("NOT PROJECTED", str(lag))
    now = os.times()
    whole = now.children_user + now.children_system - ended.children_user - ended.children_system
    return Trained(*clocks, before, beside, whole - before - beside)


def slowed(folder: Path, template: Path, seconds: float, pairs: int) -> None:
    """The same real training on two cores with and without a projector beside it, in turns.

    Both cores train all the time and the store is this machine's, so whatever tracking takes is taken from the
    trainings. The last pass, after them, holds nobody up.
    """
    storage = fresh(folder / "slowed", template)
    found: dict[bool, list[Trained]] = {False: [], True: []}
    with workers() as run:
        trained(run, storage, "warm", PROBE, tracked=False)
        probe = trained(run, storage, "probe", PROBE, tracked=False)
        examples = max(PROBE, round(PROBE * seconds * 4 / probe.cpu))
        for pair in range(pairs):
            for tracked in (False, True) if pair % 2 else (True, False):
                found[tracked].append(trained(run, storage, f"run-{pair}-{tracked}", examples, tracked=tracked))
    each = statistics.median(one.cpu for one in found[False]) / 4
    say("pairs of sweeps with and without tracking; core-seconds of a replicate", f"{pairs}; {each:.1f}")
    for what in ("wall", "cpu"):
        ratios = [
            getattr(on, what) / getattr(off, what) - 1 for on, off in zip(found[True], found[False], strict=True)
        ]
        say(f"training slowed by tracking, {what} time", median_of(ratios))
        say("each pair", ", ".join(f"{ratio:+.1%}" for ratio in ratios))
    middle = statistics.median(one.wall for one in found[False])
    scatter = [one.wall / middle - 1 for one in found[False]]
    say("scatter of the sweeps without tracking about their median", f"{min(scatter):+.1%} to {max(scatter):+.1%}")
    beside = [one.beside / one.cpu for one in found[True]]
    say("CPU time of projector and store beside the trainings, of the trainings'", median_of(beside))
    once = [statistics.median(getattr(one, when) for one in found[True]) for when in ("before", "after")]
    say("CPU time of the projector's start; of its last pass", "{:.1f} s; {:.1f} s".format(*once))


def median_of(values: list[float]) -> str:
    """Median with its interval from order statistics, whatever the distribution; the range of very few values."""
    ordered, count = sorted(values), len(values)
    left = int(binom.ppf(0.025, count, 0.5)) - 1 if count >= 6 else 0  # fewer allow no 95 %
    sure = 1 - 2 * float(binom.cdf(left, count, 0.5))
    kind = f"{sure:.0%} interval" if count >= 6 else "range"
    return f"{statistics.median(ordered):+.2%} ({kind} {ordered[left]:+.2%} to {ordered[-1 - left]:+.2%})"


def cpu_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


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


def fresh(folder: Path, template: Path) -> Path:
    folder.mkdir()
    shutil.copy(template, folder / "mlflow.db")
    return folder


TABLES = ("runs", "tags", "params", "latest_metrics")


def copied(path: Path, trials: int, replicates: int) -> None:
    """Fill a store with copies of the two trials and their replicates that are in it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    columns = {
        table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "run_uuid"]
        for table in TABLES
    }
    levels = {
        level: [
            row[0]
            for row in connection.execute("SELECT run_uuid FROM tags WHERE key = 'level' AND value = ?", [level])
        ]
        for level in ("trial", "replicate")
    }
    connection.execute("CREATE TEMP TABLE copies (source TEXT, copy TEXT)")
    pairs = [(levels["trial"][i % 2], f"a{i:031x}") for i in range(trials - 2)]
    wanted = trials * replicates - len(levels["replicate"])
    pairs += [(levels["replicate"][i % len(levels["replicate"])], f"b{i:031x}") for i in range(wanted)]
    connection.executemany("INSERT INTO copies VALUES (?, ?)", pairs)
    for table in TABLES:
        names = ", ".join(columns[table])
        connection.execute(
            f"INSERT INTO {table} (run_uuid, {names}) SELECT copy, {names} FROM {table} "  # noqa: S608
            "JOIN copies ON run_uuid = source"
        )
    connection.execute(
        "UPDATE latest_metrics SET value = value + abs(random() % 1000) * 1e-5 "
        "WHERE run_uuid LIKE 'a%' AND key LIKE 'validation_accuracy%'"
    )
    connection.execute("UPDATE tags SET value = run_uuid WHERE key = 'identity' AND run_uuid LIKE 'a%'")
    connection.commit()
    connection.close()


def answers(folder: Path, template: Path, size: int) -> None:
    storage = fresh(folder / f"answers-{size}", template)
    sweep = SweepOnDisk(storage, seeds=size, epochs=2, points={"training.optimiser.lr": [0.1]})
    sweep.finish()
    tracking.project(storage, sweep.name)
    copied(storage / "mlflow.db", 1000, size)
    uri = store_uri(storage)
    times = [timed(lambda: sweeps.best(sweep.name, k=10, source="mlflow", uri=uri)) for _ in range(6)][1:]
    wall, cpu = (statistics.median(clock) for clock in zip(*times, strict=True))
    say(f"best of 1,000 trials x {size} from MLflow, median of 5 (wall; CPU)", f"{wall:.3f} s; {cpu:.3f} s")
    if size == 10:
        wall, cpu = timed(lambda: sweeps.replicates(sweep.name, source="mlflow", uri=uri))
        say("replicates of 10,000 rows from MLflow to a DataFrame (wall; CPU)", f"{wall:.1f} s; {cpu:.1f} s")
        wall, cpu = timed(lambda: searched(uri, sweep.name))
        say("`mlflow.search_runs` on the same store (wall; CPU)", f"{wall:.1f} s; {cpu:.1f} s")
        with ui.server(uri) as address:
            wall, cpu = timed(lambda: sweeps.replicates(sweep.name, source="mlflow", uri=address))
            say("the same rows behind `mlflow server` (wall; CPU of the client)", f"{wall:.1f} s; {cpu:.1f} s")
            wall, cpu = timed(lambda: searched(address, sweep.name))
            say("`mlflow.search_runs` there (wall; CPU of the client)", f"{wall:.1f} s; {cpu:.1f} s")


def histories(folder: Path, template: Path) -> None:
    """Epochs of 100 replicates, from a store and behind a server."""
    storage = fresh(folder / "histories", template)
    sweep = finished(storage, replicates=100)
    tracking.project(storage, sweep.name)
    uri = store_uri(storage)
    direct, _ = timed(lambda: sweeps.history(sweep.name, source="mlflow", uri=uri))
    with ui.server(uri) as address:
        sweeps.history(sweep.name, source="mlflow", uri=address, metrics=["train_loss"])
        served, _ = timed(lambda: sweeps.history(sweep.name, source="mlflow", uri=address))
    say(
        f"history of 100 replicates x {EPOCHS} x {METRICS}, SQLite; behind a server",
        f"{direct:.1f} s; {served:.1f} s",
    )


def searched(uri: str, name: str) -> None:
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.search_runs(experiment_names=[name], filter_string="tags.level = 'replicate'", max_results=50_000)
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # `set_tracking_uri` sets it


def from_records(folder: Path) -> None:
    sweep = SweepOnDisk(folder / "records", seeds=5_000, epochs=2, points={"training.optimiser.lr": [0.1]})
    sweep.finish()
    first, _ = timed(lambda: replicates_of(sweep.folder))
    again, _ = timed(lambda: replicates_of(sweep.folder))
    say("replicates of 10,000 records to a DataFrame, first time; again", f"{first:.1f} s; {again:.1f} s")


def import_mlflow() -> None:
    """Before anything is timed."""
    import mlflow
    import ray.air.integrations.mlflow

    del mlflow, ray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", choices=["projection", "wait", "answers", "beside", "slowed"], help="one part of it"
    )
    parser.add_argument(
        "--quick", action="store_true", help="without PostgreSQL and 100,000 replicates, on short trainings"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help="sweeps with and without tracking to compare")
    given = parser.parse_args()
    quick, only = given.quick, given.only
    folder = Path(tempfile.mkdtemp(prefix="tracking"))
    try:
        template = folder / "template.db"
        prepare(f"sqlite:///{template}")
        made = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1]).search_experiments()"
        subprocess.run([sys.executable, "-c", made, f"sqlite:///{template}"], check=True, capture_output=True)
        import_mlflow()
        if only in (None, "projection"):
            projection(folder, template, with_postgres=not quick)
        if only in (None, "wait"):
            wait_of_a_trial(folder)
        if only in (None, "answers"):
            for size in [10] if quick else [10, 100]:
                answers(folder, template, size)
            histories(folder, template)
            from_records(folder)
        if only == "beside":
            beside_training(folder, template, 100.0)
        if only in (None, "slowed"):
            slowed(folder, template, 1.0 if quick else REPLICATE_SECONDS, 2 if quick else given.pairs)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
