"""What tracking costs: python -m benchmarks.tracking [--quick] [--only PART]

Figures, on this machine: projection of replicates against Ray's `MLflowLoggerCallback`, on SQLite and
on PostgreSQL behind a server; the longest wait of a trial while the server is down; answers from MLflow at 10,000
and 100,000 replicates, and from 10,000 records; a real training on two cores with and without a projector beside
it. Nine minutes together. `--only beside`: the projector's CPU time beside a training in real time.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.tracking.answers import answers, from_records, histories
from benchmarks.tracking.projection import projection, wait_of_a_trial
from benchmarks.tracking.training import PAIRS, REPLICATE_SECONDS, beside_training, slowed
from sweeps.tracking.store import prepare


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
