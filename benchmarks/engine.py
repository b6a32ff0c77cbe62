"""What a sweep costs beside training: wall time per trivial trial, next to Ray Tune's own function trainable.

    python benchmarks/engine.py [--trials 100]

Both run in one process on one Ray of two slots, after Ray is up. A sweep starts its worker processes once, which
import torch; the table says what a trial takes with that and without. Records on; the projection to MLflow is a
process of its own and is not started.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from sweeps.data import load
from sweeps.planning import Plan, make_plan
from sweeps.progress import SweepProgress
from sweeps.ray_session import session
from sweeps.spec import build_spec
from sweeps.trial import TrialRun


def plan(trials: int, first: int = 0) -> Plan:
    """Trials of one epoch of one tiny network, unpruned, one replicate each."""
    document = {
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
    return make_plan(build_spec(document), lambda data: load(data).fingerprint)


def sweep_seconds(made: Plan, folder: Path, scratch: Path) -> tuple[float, float]:
    """Wall time of a sweep on the Ray that is up, and how much of it passed before its first trial ended."""
    from sweeps.runner import train

    datasets = {trial.fingerprint: load(trial.spec.data) for trial in made}
    progress = SweepProgress(made.spec.objective, len(made), made.replicates)
    ended: list[float] = []

    def show(progress: SweepProgress) -> None:
        if progress.outcomes and not ended:
            ended.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    train(made.trials, folder, datasets, made.spec.resources, progress, show, scratch)
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


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    trials = parser.parse_args().trials
    made = plan(trials)
    bare_seconds(plan(2, first=10**6))
    bare = bare_seconds(made) / trials
    with session() as scratch, tempfile.TemporaryDirectory() as folder:
        sweep_seconds(plan(4, first=10**5), Path(folder) / "warm", scratch / "warm")
        seconds, start = sweep_seconds(made, Path(folder) / "sweep", scratch / "sweep")
        theirs = tune_seconds(trials, scratch / "theirs") / trials
    print(f"{'per trial, of ' + str(trials):<58}{'ms':>8}")
    ours, steady = seconds / trials, (seconds - start) / (trials - 1)
    print(f"{'sweep: Ray, stacks, records':<58}{1000 * ours:>8.1f}")
    print(f"{'the same once its workers have started':<58}{1000 * steady:>8.1f}")
    print(f"{'the same trainings in one process, nothing recorded':<58}{1000 * bare:>8.1f}")
    print(f"{'overhead then (training shared by two slots)':<58}{1000 * (steady - bare / 2):>8.1f}")
    print(f"{'Ray Tune function trainable that does nothing':<58}{1000 * theirs:>8.1f}")
    print(f"{'sweep / Ray Tune':<58}{ours / theirs:>8.2f}")


if __name__ == "__main__":
    main()
