"""What one driver can carry: python -m benchmarks.scale [--workers 1000] [--only PART]

A thousand workers do not fit here, so what they send is simulated: recorded curves on a fast clock, through the
code that a sweep runs. Four parts, with CPU time, since what a driver may spend is what decides:

progress    reports of all workers, in turn, into the driver's progress code; memory before and after
histories   the same epochs into durable histories by the code of the workers, on this disk
tune        Ray Tune's own loop with the driver's callback: workers that report at once what they have recorded
projection  a projector that follows the histories as they grow, its lag, and whether it ends equal (SQLite)
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
from ray import tune

from cluster.probe import wait_for
from sweeps import order, runner, tracking
from sweeps.ending import Ending
from sweeps.forks import Leftovers
from sweeps.planning import Plan, make_plan
from sweeps.progress import SweepProgress
from sweeps.records import Recorder
from sweeps.spec import build_spec
from tests.sweeps.tracking.recorded import Replicate, SweepOnDisk

REPLICATES, EPOCHS = 10, 30
SEATS = 4  # simulated workers at a time: enough that the driver always has a report to take
MUST, MUST_PROJECTED = 2000, 200  # replicate-epochs a second
PARTS = ("progress", "histories", "tune", "projection")


def say(name: str, value: str) -> None:
    print(f"{name:<78} {value}", flush=True)


def against(name: str, rate: float, least: float) -> None:
    """A figure beside what it must be."""
    verdict = "met" if rate >= least else "MISSED"
    say(name, f"{rate:,.0f}/s, must be at least {least:,.0f}/s: {verdict} ({rate / least:.2f}x)")


class Clock:
    """Wall and CPU time of this process."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """What comes now is not counted."""
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu

    def rate(self, count: int) -> float:
        """Of so many things, by wall time; after `stop`."""
        return count / self.wall

    def rates(self, count: int) -> str:
        """By wall time and by CPU time; after `stop`."""
        return f"{self.rate(count):,.0f}/s; {count / self.cpu:,.0f} per CPU second"


def memory() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


def plan(trials: int) -> Plan:
    """As many trials as workers, ten replicates each."""
    document = {
        "name": "scale",
        "trial": {
            "data": {"kind": "digits", "validation": 100, "train_size": 50},
            "model": {"kind": "mlp", "widths": [8]},
            "training": {"epochs": EPOCHS, "batch_size": 50},
            "prune": {"rule": "none"},
        },
        "space": {"training.optimiser.lr": {"grid": [0.01 + 1e-5 * index for index in range(trials)]}},
        "replicates": {"initialisation": REPLICATES},
    }
    return make_plan(build_spec(document), lambda data: "f" * 64)


def watcher(made: Plan, folder: Path, state: SweepProgress, show: runner.Show) -> tune.Callback:
    """The driver's callback, without a stopper."""
    packs = [(trial,) for trial in made.trials]
    return runner._Watcher(packs, state, show, Leftovers(folder, made.trials), None, Ending(made.spec))


def rows(folder: Path) -> list[dict[str, Any]]:
    """A recorded curve."""
    return SweepOnDisk(folder / "curve", epochs=EPOCHS).replicates()[0].rows(EPOCHS)


def report(row: Mapping[str, Any], *, done: bool) -> dict[str, Any]:
    """What a worker tells the driver of a trial, which is a pack by itself."""
    news = {
        "epoch": row["epoch"],
        "validation_accuracy.mean": row["validation_accuracy"],
        "place": 0,
        "done": done,
    }
    ended = {"statuses": {"finished": REPLICATES}} if done else {}
    return {"epoch": row["epoch"], "done": done, "trials": [news | ended]}


def progress(folder: Path, workers: int) -> None:
    """All workers report every epoch, in turn."""
    made, curve = plan(workers), rows(folder)
    state = SweepProgress(made.spec.objective, len(made), made.replicates)
    lines: list[str] = []
    driver = watcher(made, folder, state, lambda now: lines.append(now.line()) or lines.clear())
    seats = [SimpleNamespace(trial_id=str(index), config={"position": index}) for index in range(workers)]
    before, clock = memory(), Clock()
    for row in curve:
        for seat in seats:
            driver.on_trial_result(0, seats, seat, report(row, done=False))
    for seat in seats:
        driver.on_trial_result(0, seats, seat, report(curve[-1], done=True))
    clock.stop()
    reports = workers * (EPOCHS + 1)
    say(f"progress: reports of {workers:,} workers, a line rendered at each", clock.rates(reports))
    say("progress: memory they added, MB", f"{memory() - before:.1f}")
    assert state.done == made.replicates


def histories(folder: Path, workers: int) -> None:
    """Every worker appends an epoch of each of its replicates, all in turn, as if they shared one disk."""
    curve = rows(folder)
    places = [
        folder / "histories" / str(index) / str(seed) for index in range(workers) for seed in range(REPLICATES)
    ]
    size = 0
    clock = Clock()
    for place in places:
        recorder = Recorder(place)
        for row in curve:
            recorder.append(row)
        size += (place / "history.jsonl").stat().st_size
    clock.stop()
    count = len(places) * EPOCHS
    say("histories: replicate-epochs into files, one process", clock.rates(count))
    say("histories: bytes a replicate-epoch", f"{size / count:.0f}")


class Recorded(tune.Trainable):
    """A worker that trains nothing: each step records an epoch of its replicates and reports it."""

    def setup(self, config: Mapping[str, Any], *, folder: str, curve: list[dict[str, Any]]) -> None:  # type: ignore[override]
        self._folder, self._curve = Path(folder), curve
        self.reset_config(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        trial = self._folder / str(new_config["position"])
        self._recorders = [Recorder(trial / str(seed)) for seed in range(REPLICATES)]
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        if self._epoch == EPOCHS:
            return report(self._curve[-1], done=True)
        row = self._curve[self._epoch]
        self._epoch += 1
        for recorder in self._recorders:
            recorder.append(row)
        return report(row, done=False)


def tuned(folder: Path, trials: int) -> None:
    """Tune's loop with the driver's searcher and callback; a few workers, which here share the cores with it."""
    from sweeps.ray_session import session

    made, curve = plan(trials), rows(folder)
    state = SweepProgress(made.spec.objective, len(made), made.replicates)
    started: list[Clock] = []
    begun_memory: list[float] = []

    def show(now: SweepProgress) -> None:
        if (
            not started and len(now.outcomes) >= SEATS
        ):  # the workers have begun: their start is not what is asked for
            started.append(Clock())
            begun_memory.append(memory())

    with session(cpus=SEATS) as scratch:
        trainable = tune.with_parameters(Recorded, folder=str(folder / "tuned"), curve=curve)
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=order.PlanOrder([{}] * trials), num_samples=trials, reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.config["position"]),
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(scratch), verbose=0,
                callbacks=[watcher(made, folder, state, show)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()  # fmt: skip
        (clock,) = started
        clock.stop()
        reports, epochs = ((trials - SEATS) * each for each in (EPOCHS + 1, EPOCHS * REPLICATES))
        say(f"tune: reports of {trials} trials, wall and the driver's CPU", clock.rates(reports))
        say("tune: replicate-epochs in them, into durable histories", clock.rates(epochs))
        against("tune: one driver, replicate-epochs into durable histories", clock.rate(epochs), MUST)
        say("tune: memory the driver added, MB", f"{memory() - begun_memory[0]:.1f}")
    assert state.ended.total() == trials
    lines = sum(len(path.read_text().splitlines()) for path in (folder / "tuned").glob("*/*/history.jsonl"))
    assert lines == trials * EPOCHS * REPLICATES


def projected(folder: Path, trials: int, rate: float) -> None:
    """Histories grow at a rate; the projector follows, falls behind, and ends equal."""
    rates = [round(0.1 / (1 + index), 6) for index in range(trials // 2)]  # each a pruned trial and its twin
    points = {"training.optimiser.lr": rates}
    sweep = SweepOnDisk(folder / "projected", epochs=EPOCHS, seeds=REPLICATES, points=points)
    replicates = sweep.replicates()
    total = len(replicates) * EPOCHS
    projector = tracking.start_projector(sweep.storage, sweep.name)
    wait_for(projector.lag, what="the projector's first pass", timeout=300)
    times = psutil.Process(projector.process.pid).cpu_times()
    earlier = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = times.user + times.system + earlier.ru_utime + earlier.ru_stime
    begun = time.perf_counter()
    written, most = 0, 0
    for batch in epochs_of(replicates):
        for replicate, row in batch:
            replicate.append([row])
        written += len(batch)
        lag = projector.lag()
        most = max(most, lag.epochs if lag else 0)
        time.sleep(max(0.0, begun + written / rate - time.perf_counter()))
    for replicate in replicates:
        replicate.finish()
    grown = time.perf_counter() - begun
    assert projector.process.stdin is not None
    projector.process.stdin.close()  # the sweep has ended: the projector goes on to the end
    while projector.process.poll() is None:
        most = max(most, (projector.lag() or tracking.Lag()).epochs)
        time.sleep(0.2)
    left = projector.finish()
    took = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # the projector has ended
    cpu = used.ru_utime + used.ru_stime - start
    say("projection: replicate-epochs written", f"{total:,} in {grown:.0f} s ({total / grown:,.0f}/s)")
    say("projection: largest lag that was shown, replicate-epochs", f"{most:,}")
    say("projection: in MLflow, all of it, statistics and artifacts too", f"{took:.0f} s ({total / took:,.0f}/s)")
    against("projection: into SQLite", total / took, MUST_PROJECTED)
    say("projection: of the projector's CPU, its start apart", f"{cpu:.1f} s ({total / cpu:,.0f} per CPU second)")
    say("projection: ends", str(left))
    counts = metric_points(sweep.storage)
    say(
        "projection: replicates with each epoch once, asked from the database",
        f"{counts[EPOCHS]} of {len(replicates)}",
    )
    assert counts == Counter({EPOCHS: len(replicates)}), counts


def epochs_of(replicates: list[Replicate]) -> Iterator[list[tuple[Replicate, dict[str, Any]]]]:
    """Epoch by epoch, all replicates in batches of a hundred."""
    curves = [(replicate, replicate.rows(EPOCHS)) for replicate in replicates]
    for epoch in range(EPOCHS):
        for first in range(0, len(curves), 100):
            yield [(replicate, curve[epoch]) for replicate, curve in curves[first : first + 100]]


def metric_points(storage: Path) -> Counter[int]:
    """How many replicates have how many points of a metric, asked from the database itself."""
    import sqlite3

    with sqlite3.connect(storage / "mlflow.db") as connection:
        query = "SELECT run_uuid, count(*) FROM metrics WHERE key = 'validation_accuracy' GROUP BY run_uuid"
        return Counter(count for _, count in connection.execute(query))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=90, help="through Tune, and a third as many through MLflow")
    parser.add_argument(
        "--rate", type=float, default=2000.0, help="replicate-epochs a second that histories grow by"
    )
    parser.add_argument("--only", choices=PARTS)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scale"))
    try:
        for part in [given.only] if given.only else PARTS:
            load = psutil.getloadavg()[0]
            print(json.dumps({"part": part, "load of the machine before": round(load, 1)}), flush=True)
            if part == "progress":
                progress(folder, given.workers)
            elif part == "histories":
                histories(folder, given.workers)
            elif part == "tune":
                tuned(folder, given.trials)
            else:
                projected(folder, max(2, given.trials // 3), given.rate)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
