"""Every example runs as it is written, only shorter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeps import document
from tests.end_to_end.conftest import REPOSITORY, command

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))
SHORTER = ("training.epochs=3", "prune.every=1", "replicates.initialisation=2")


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_shrunk(example: Path, tmp_path: Path):
    plain = document.parse(example.read_text())
    smaller = [f"data.train_size={4 * plain['trial']['training']['batch_size']}"]
    few = [
        f"space.{path}={document.render({'x': first_of(dim)})[3:].strip()}"
        for path, dim in plain.get("space", {}).items()
    ]
    overrides = [part for value in (*SHORTER, *smaller, *few) for part in ("--set", value)]
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
