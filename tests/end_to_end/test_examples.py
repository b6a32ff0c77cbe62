"""Every example runs as it is written, only shorter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeps import document, load_spec, run_trial
from tests.end_to_end.conftest import REPOSITORY, command

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))
SHORTER = ("training.epochs=3", "prune.every=1", "replicates.initialisation=2", "tracking.pictures=1")


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_shrunk(example: Path, tmp_path: Path):
    plain = document.parse(example.read_text())
    first_cut = [] if plain["trial"]["prune"].get("start") is None else ["prune.start=2"]
    smaller = [f"data.train_size={4 * plain['trial']['training']['batch_size']}"]
    few = [
        f"space.{path}={document.render({'x': first_of(dim)})[3:].strip()}"
        for path, dim in plain.get("space", {}).items()
    ]
    overrides = [part for value in (*SHORTER, *first_cut, *smaller, *few) for part in ("--set", value)]
    done = command("run", example, "--storage", tmp_path, *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*/trials/*/*/record.json")]
    assert len(records) == 2 * 2
    assert {record["status"] for record in records} == {"finished"}
    assert any(record["metrics"]["parameters_kept"] < 1 for record in records)


def first_of(dimension: dict[str, list[object]]) -> dict[str, list[object]]:
    """The dimension with only its last value, the strongest of an example's aggressivenesses."""
    (kind, values), *_ = dimension.items()
    return {kind: values[-1:]} if kind == "grid" else {"grid": [values[0]]}


@pytest.mark.slow
def test_the_quickstart_prunes_as_it_promises():
    """Layers end up factored, at ranks of each replicate's own, with at most 0.7 of the parameters."""
    spec = load_spec(REPOSITORY / "examples" / "quickstart.yaml")
    for widths in spec.space["model.widths"].ends:
        trial = spec.trial_at({"model.widths": widths, "prune.aggressiveness": 0.7})
        result = run_trial(trial, lambda row: None, seeds=5)
        assert all(replicate.metrics["parameters_kept"] <= 0.7 for replicate in result.replicates)
        layers = [replicate.outcome.layers for replicate in result.replicates if replicate.outcome]
        ranks = [tuple(row["rank"] for row in rows if row["factored"]) for rows in layers]
        assert len(ranks) == 5
        assert all(len(rank) == 2 for rank in ranks)
        assert len(set(ranks)) > 1
