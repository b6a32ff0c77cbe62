"""All findings and the report of a large sweep: `python benchmarks/report.py [--trials 1000] [--replicates 10]`.

The sweep is made up: tables as records give them, correctness on 10,000 test examples, no training. Prints seconds
for each question, for all of them, and for the report, with what each must be; and the load of the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from sweeps.correctness import Correctness, Packed
from sweeps.findings import answer, questions
from sweeps.report.document import Tables, document
from tests.sweeps.report.generator import Made, Recipe, make

EXAMPLES = 10_000
FINDINGS_SECONDS, REPORT_SECONDS, REPORT_MEGABYTES = 20, 10, 5


def made_up(trials: int, replicates: int) -> tuple[Made, Correctness]:
    """A grid of about so many trials (a tenth of them twins), and what each replicate was right on."""
    rates = max(1, round(trials / 100))
    grid: dict[str, Any] = {
        "model.widths": [[width, 64] for width in range(64, 74)],
        "training.optimiser.lr": [0.001 * k for k in range(1, rates + 1)],
        "prune.aggressiveness": [k / 10 for k in range(1, 10)],
    }
    made = make(Path(tempfile.mkdtemp()), Recipe(grid=grid, seeds=replicates, files=False))
    generator = np.random.default_rng(0)
    packed = {}
    for name, accuracy in zip(made.table["replicate_id"], made.table["test_accuracy"], strict=True):
        bits = generator.random(EXAMPLES) < accuracy
        packed[str(name)] = Packed(np.packbits(bits).tobytes(), EXAMPLES)
    made.table["test_accuracy"] = [float(bits.mean()) for bits in Correctness(packed).values()]
    made.table["spikes"] = generator.integers(0, 20, len(made.table))
    return made, Correctness(packed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Findings and report of a large sweep.")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=10)
    options = parser.parse_args()
    made, correct = made_up(options.trials, options.replicates)
    print(f"{len(made.plan['trials'])} trials, {len(made.table)} replicates; load {os.getloadavg()[0]:.1f}")
    total = 0.0
    for name, function, asked in questions(made.table, "validation_accuracy"):
        begun = time.process_time(), time.perf_counter()
        answer(made.table, correct, function, asked)
        cpu, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
        total += wall
        print(f"  {name:<40}{cpu:>8.2f} s of one core{wall:>8.2f} s", flush=True)
    print(f"all findings: {total:.1f} s; must be at most {FINDINGS_SECONDS} s")
    begun = time.process_time(), time.perf_counter()
    page = document(
        Tables(made.storage, made.sweep, made.table, made.trials, made.plan, lambda *_: {}, lambda *_: [], correct)
    )
    cpu, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
    size = len(page.encode()) / 1e6
    print(f"report: {cpu:.1f} s of one core, {wall:.1f} s; must be at most {REPORT_SECONDS} s")
    print(f"report: {size:.1f} MB; must be at most {REPORT_MEGABYTES} MB")


if __name__ == "__main__":
    main()
