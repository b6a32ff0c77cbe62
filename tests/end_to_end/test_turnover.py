"""From one trial to the next: workers are kept, and all that there is room for train."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import command

# Trials that take a hundredth of the time in which a worker starts.
SPEC = """
name: brief
trial:
  data: {kind: digits, validation: 100, train_size: 50}
  model: {kind: mlp, widths: [8]}
  training: {epochs: 1, batch_size: 50}
  prune: {rule: none}
space:
  training.optimiser.lr: {loguniform: [0.01, 0.1]}
design: {kind: random, points: 200}
replicates: {initialisation: 1}
tracking: {pictures: 0}
"""


@pytest.mark.slow
def test_brief_trials_do_not_keep_a_second_worker_from_starting(tmp_path: Path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    done = command("run", spec, "--storage", tmp_path)
    assert done.returncode == 0, done.stderr
    told = [json.loads(path.read_text()) for path in tmp_path.glob("brief/trials/*/*/record.json")]
    times = sorted((record["started"], record["ended"]) for record in told)
    assert len(times) == 200
    at_once = sum(later[0] < earlier[1] for earlier, later in itertools.pairwise(times[100:]))
    assert at_once >= 25, "one worker alone would train none before another has ended"
