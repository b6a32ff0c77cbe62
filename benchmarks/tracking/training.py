"""A training with and without a projector beside it."""

from __future__ import annotations

import multiprocessing
import os
import statistics
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

from benchmarks.tracking.common import EPOCHS, EXTRA, cpu_of, fresh, say
from sweeps import launch, tracking
from sweeps.data import load
from sweeps.spec import SweepSpec, build_spec
from sweeps.trial import TrialRun
from tests.sweeps.tracking.recorded import SweepOnDisk

REPLICATE_SECONDS, PAIRS = 11.0, 9  # what is promised holds for replicates of 10 core-seconds or more
REAL: dict[str, Any] = {
    "data": {"kind": "fashion_mnist", "validation": 300},
    "model": {"kind": "mlp", "widths": [256, 128]},
    "training": {"epochs": EPOCHS, "batch_size": 32, "optimiser": {"kind": "sgd", "lr": 0.05}},
    "prune": {"rule": "mp_threshold", "aggressiveness": 0.8, "every": 5},
}
WORKERS = 2
PROBE = 500  # examples of the sweep that tells how many make a replicate of so many core-seconds
Clocks = tuple[float, float]
Job = tuple[Path, str, int]
Run = Callable[[Path, str, int], Clocks]


def real(name: str, examples: int) -> SweepSpec:
    """Two trials, a pruned one and its twin, of two replicates each: one trial for each of two workers."""
    trial = {**REAL, "data": {**REAL["data"], "train_size": examples}}
    plain = {"name": name, "trial": trial, "replicates": {"initialisation": 2}, "tracking": {"pictures": 0}}
    return build_spec(plain)


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
