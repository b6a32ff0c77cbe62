"""What a sweep costs beside training, part by part: python -m benchmarks.engine [--only PART ...]

trivial   wall time per trivial trial, next to Ray Tune's own function trainable, both on one Ray of two slots
          that is up. A sweep starts its worker processes once, which import torch; the table says what a trial
          takes with that and without. Records on; the projection to MLflow is a process of its own, not started.
catchup   the same trials as a whole: `sweeps run` as a process, on a Ray that it starts, report and all,
          wall time from its start until the projector has ended and everything is in MLflow. `sweeps run` itself
          waits at most two minutes for that; the clock runs on after it.
plan      what `sweeps plan` computes for 100,000 points of five replicates: CPU time, after the imports; and the
          command itself with them, wall time, which is what a person waits for.
memory    of the process of `sweeps run` with 10,000 planned trials: its peak while the first ones train, what it
          grows with each that ends, and from both what it has when all have.
relaunch  `sweeps run` of a finished sweep of 1,000 trials, as a new process: wall time from start to exit.
busy      a sweep of trials of about ten seconds: the time that its trainings and evaluations took, next to slots
          times wall time, from the begin of `sweeps.run` to its end and without the start of Ray and its workers.
fashion   `examples/fashion.yaml` over four learning rates, unpruned and with five aggressivenesses: 24 trials of
          five seeds, through `sweeps.run` with everything it does; and as it is written by hand: a Tune function
          trainable a seed, a `DataLoader` over torchvision's data set, `MLflowLoggerCallback`, pruning by SVD.
          Both train two epochs instead of five. By hand it is a sample of the 120 trainings, on a Ray that is up.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

import sweeps
from sweeps import records
from sweeps.cautions import cautions
from sweeps.data import load
from sweeps.forks import Forks
from sweeps.planning import Plan, make_plan, without_collection
from sweeps.planning_power import detectable
from sweeps.price_quote import quote
from sweeps.progress import SweepProgress
from sweeps.ray_session import session
from sweeps.spec import build_spec
from sweeps.storage import write_atomically
from sweeps.tracking import lag as lags
from sweeps.tracking.session import LOCK
from sweeps.trial import TrialRun

PROGRAM = (sys.executable, "-m", "sweeps")
POINTS, PLANNED, FINISHED = 100_000, 10_000, 1_000
WATCHED_SECONDS = 60.0
TEN_SECONDS, TRIALS = 10.0, 12
FASHION_EPOCHS, BY_HAND = 2, 8


def show(what: str, value: str, limit: str = "") -> None:
    """One line of the table."""
    print(f"{what:<72}{value:>14}" + (f"   must be {limit}" if limit else ""), flush=True)


def document(trials: int, first: int = 0) -> dict[str, Any]:
    """Trials of one epoch of one tiny network, unpruned, one replicate each."""
    return {
        "name": "trivial",
        "trial": {
            "data": {"kind": "digits", "validation": 100, "train_size": 50},
            "model": {"kind": "mlp", "widths": [8]},
            "training": {"epochs": 1, "batch_size": 50},
            "prune": {"rule": "none"},
        },
        "space": {"training.optimiser.lr": {"grid": [0.01 + 1e-5 * (first + i) for i in range(trials)]}},
        "replicates": {"initialisation": 1},
    }


def plan(trials: int, first: int = 0) -> Plan:
    """A plan of trivial trials."""
    return make_plan(build_spec(document(trials, first)), lambda data: load(data).fingerprint)


def sweep_seconds(made: Plan, folder: Path, scratch: Path) -> tuple[float, float]:
    """Wall time of a sweep on the Ray that is up, and how much of it passed before its first trial ended."""
    from sweeps.runner import train

    datasets = {trial.fingerprint: load(trial.spec.data) for trial in made}
    progress = SweepProgress(made.spec.objective, len(made), made.replicates)
    ended: list[float] = []

    def note(progress: SweepProgress) -> None:
        if progress.outcomes and not ended:
            ended.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    train([(trial,) for trial in made], folder, datasets, made.spec, Forks(), progress, note, scratch)
    assert len(progress.outcomes) == len(made)
    return time.perf_counter() - begun, ended[0]


def tune_seconds(trials: int, scratch: Path) -> float:
    """Wall time of as many trials that do nothing, as Ray Tune's own function trainable with actor reuse."""
    from ray import tune

    def nothing(config: dict[str, int]) -> dict[str, int]:
        return {"value": config["i"]}

    tuner = tune.Tuner(
        nothing,
        param_space={"i": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(name="nothing", storage_path=str(scratch), verbose=0),
    )
    begun = time.perf_counter()
    tuner.fit()
    return time.perf_counter() - begun


def bare_seconds(made: Plan) -> float:
    """The same trainings in this process, without Ray and without records."""
    begun = time.perf_counter()
    for trial in made:
        run = TrialRun(trial, trial.replicates, load(trial.spec.data))
        while run.step() is not None:
            pass
    return time.perf_counter() - begun


def trivial(folder: Path, trials: int) -> None:
    """A sweep of trivial trials beside Ray Tune's own."""
    made = plan(trials)
    bare_seconds(plan(2, first=10**6))
    bare = bare_seconds(made) / trials
    with session() as scratch:
        sweep_seconds(plan(4, first=10**5), folder / "warm", scratch / "warm")
        seconds, start = sweep_seconds(made, folder / "sweep", scratch / "sweep")
        theirs = tune_seconds(trials, scratch / "theirs") / trials
    ours, steady = seconds / trials, (seconds - start) / (trials - 1)
    for what, value in (
        ("sweep: Ray, stacks, records", ours),
        ("the same once its workers have started", steady),
        ("the same trainings in one process, nothing recorded", bare),
        ("overhead then (training shared by two slots)", steady - bare / 2),
        ("Ray Tune function trainable that does nothing", theirs),
    ):
        show(f"trivial: {what}, ms a trial of {trials}", f"{1000 * value:.1f}")
    show("trivial: sweep / Ray Tune", f"{ours / theirs:.2f}", "<= 2")


def catchup(folder: Path, trials: int) -> None:
    """A whole sweep of trivial trials, until MLflow tells all of it."""
    spec, sweep = written(document(trials), folder), folder / "trivial"
    began, begun = time.time(), time.perf_counter()
    subprocess.run(command(spec, folder), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    returned = time.perf_counter() - begun
    with (sweep / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # which the projector has until it ends
    whole = time.perf_counter() - begun
    said = lags.read(sweep)
    assert said is not None, "nothing was projected"
    assert said.is_complete, said
    assert len(sweeps.replicates("trivial", storage=folder, source="mlflow")) == trials
    recorded = max(path.stat().st_mtime for path in (sweep / "trials").glob("*/*/record.json")) - began
    for what, value, limit in (
        ("start of `sweeps run` to the last trial's record", recorded, ""),
        ("to the end of `sweeps run`", returned, ""),
        ("to everything in MLflow", whole, "<= 120"),
    ):
        show(f"catchup: {what}, ms a trial of {trials}", f"{1000 * value / trials:.1f}", limit)


def planning(folder: Path, trials: int) -> None:
    """CPU time of a large plan."""
    count = 50, 20, POINTS // 1000
    plain = {
        "name": "large",
        "trial": {"data": {"kind": "digits"}, "model": {"kind": "mlp", "widths": [16]}},
        "space": {
            "training.optimiser.lr": {"grid": [0.001 * (1 + i) for i in range(count[0])]},
            "training.l2": {"grid": [1e-6 * (1 + i) for i in range(count[1])]},
            "prune.aggressiveness": {"grid": [(1 + i) / (1 + count[2]) for i in range(count[2])]},
        },
        "replicates": {"initialisation": 5},
    }
    spec = build_spec(plain)
    load(spec.trial.data)
    begun = time.process_time()
    with without_collection():  # as the command does
        made, progress = sweeps.plan(spec, storage=folder)
        planned = time.process_time() - begun
        quote(made, progress, folder / spec.name)
        detectable(made)
        cautions(made)
        whole = time.process_time() - begun
    show(f"plan: {POINTS:,} points, {made.replicates:,} replicates, seconds", f"{planned:.2f}", "< 5")
    show("plan: the same with forks, price, what seeds show and warnings, seconds", f"{whole:.2f}", "< 5")
    asked = [*PROGRAM, "plan", str(written(plain, folder)), "--storage", str(folder)]
    begun = time.perf_counter()
    subprocess.run(asked, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    show("plan: `sweeps plan` as a command, imports and all, seconds", f"{time.perf_counter() - begun:.1f}")


def command(spec: Path, folder: Path) -> list[str]:
    """`sweeps run` as a process."""
    return [*PROGRAM, "run", str(spec), "--storage", str(folder)]


def written(spec: Mapping[str, Any], folder: Path) -> Path:
    """A spec as a file."""
    path = folder / f"{spec['name']}.yaml"
    write_atomically(path, build_spec(spec).to_yaml())
    return path


def memory(folder: Path, trials: int) -> None:
    """Memory of a driver with many trials before it, watched for a while."""
    spec = written(document(PLANNED), folder)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen(command(spec, folder), start_new_session=True, **quiet)  # type: ignore[call-overload]
    seen: list[tuple[int, float]] = []
    try:
        began = _when_ended(driver, folder)
        while driver.poll() is None and time.perf_counter() - began < WATCHED_SECONDS:
            seen.append((_ended(folder), psutil.Process(driver.pid).memory_info().rss / 1e9))
            time.sleep(2)
    finally:
        driver.send_signal(signal.SIGINT)
        driver.wait(120)
    (first, low), (last, high) = seen[len(seen) // 4], seen[-1]
    each = (high - low) / max(1, last - first)
    show(f"memory: driver, {PLANNED:,} trials planned, {last:,} ended, peak, GB", f"{max(m for _, m in seen):.2f}")
    show("memory: it grows with each trial that ends, kB", f"{1e6 * each:.1f}")
    show("memory: so with all of them ended, GB", f"{high + each * (PLANNED - last):.2f}", "< 1.5")


def _ended(folder: Path) -> int:
    return len(list((folder / "trivial" / "trials").glob("*/*/record.json")))


def _when_ended(driver: subprocess.Popen[bytes], folder: Path) -> float:
    """When the first trial has ended."""
    while driver.poll() is None and not _ended(folder):
        time.sleep(0.5)
    return time.perf_counter()


def relaunch(folder: Path, trials: int) -> None:
    """A finished sweep launched again."""
    made = plan(FINISHED)
    data = load(made.spec.trial.data)
    for trial in made:
        run = TrialRun(trial, trial.replicates, data, sweep=folder / made.spec.name)
        while run.step() is not None:
            pass
    spec = written(document(FINISHED), folder)
    for what, limit in (("first, which projects all to MLflow", ""), ("again", "< 10")):
        begun = time.perf_counter()
        subprocess.run(command(spec, folder), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = f"{time.perf_counter() - begun:.1f}"
        show(f"relaunch: `sweeps run` of {FINISHED:,} finished trials, {what}, seconds", seconds, limit)


def busy(folder: Path, trials: int) -> None:
    """Share of the slots' time in which trials of ten seconds train."""

    def spec(epochs: int) -> dict[str, Any]:
        plain = document(TRIALS) | {"name": "busy", "replicates": {"initialisation": 5}}
        plain["trial"] = {
            "data": {"kind": "digits"},
            "model": {"kind": "mlp", "widths": [128, 128]},
            "training": {"epochs": epochs, "batch_size": 32},
            "prune": {"rule": "none"},
        }
        return plain

    [first, *_] = make_plan(build_spec(spec(30)), lambda data: load(data).fingerprint)
    run = TrialRun(first, first.replicates, load(first.spec.data))
    run.step()
    begun = time.perf_counter()
    for _ in range(10):
        run.step()
    epochs = max(2, round(TEN_SECONDS / ((time.perf_counter() - begun) / 10)))
    begun = time.perf_counter()
    sweeps.run(spec(epochs), storage=folder)
    wall = time.perf_counter() - begun
    trained, began, ended = 0.0, float("inf"), 0.0
    for trial in (folder / "busy" / "trials").iterdir():
        one = next(found for found in trial.iterdir() if (found / records.RECORD).exists())
        record = records.read_record(one)
        assert record is not None
        began, ended = min(began, record["started"] / 1000), max(ended, record["ended"] / 1000)
        rows = records.read_history(one)  # those of a stack take the same time
        trained += sum(row["train_seconds"] + row["evaluation_seconds"] for row in rows)
    slots = os.cpu_count() or 1
    show(f"busy: {TRIALS} trials, seconds each", f"{trained / TRIALS:.1f}")
    show(f"busy: training / {slots} slots x wall time of the launch", f"{trained / slots / wall:.0%}")
    show("busy: the same from the first training's begin", f"{trained / slots / (ended - began):.0%}", ">= 85 %")


def fashion(folder: Path, trials: int) -> None:
    """The example's grid through a sweep and as it is written by hand."""
    from benchmarks.fashion_by_hand import RATES, STRENGTHS, seconds_by_hand
    from sweeps.spec import load_spec

    example = load_spec(Path(__file__).parents[1] / "examples" / "fashion.yaml").document()
    example["trial"]["training"]["epochs"] = FASHION_EPOCHS
    example["space"] = {
        "training.optimiser.lr": {"grid": list(RATES)},
        "prune.aggressiveness": {"grid": [one for one in STRENGTHS if one is not None]},
    }
    begun = time.perf_counter()
    done = sweeps.run(example, storage=folder)
    ours = (time.perf_counter() - begun) / done.plan.replicates
    assert (len(done.plan), done.statuses["finished"]) == (24, 120)
    theirs = seconds_by_hand(folder, FASHION_EPOCHS, BY_HAND) / BY_HAND
    show("fashion: 24 trials x 5 seeds by `sweeps.run`, seconds a training", f"{ours:.2f}")
    show(f"fashion: by hand, {BY_HAND} of the 120, seconds a training", f"{theirs:.2f}")
    show("fashion: throughput of the sweep / by hand", f"{theirs / ours:.1f}", ">= 8")


PARTS: Mapping[str, Callable[[Path, int], None]] = {
    "trivial": trivial,
    "catchup": catchup,
    "plan": planning,
    "memory": memory,
    "relaunch": relaunch,
    "busy": busy,
    "fashion": fashion,
}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100, help="of the parts `trivial` and `catchup`")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    given = parser.parse_args()
    for name in given.only:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder), given.trials)


if __name__ == "__main__":
    main()
