"""Whatever dies, every planned replicate ends with one record, and with the numbers of an undisturbed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.faults import History, assert_nothing_was_lost, driver, kill, undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]

# A twin and a sibling that forks from it; epochs that take long enough to be killed in.
SPEC = """
name: faults
trial:
  data: {kind: digits, validation: 300, train_size: 1000}
  model: {kind: mlp, widths: [128, 128]}
  training: {epochs: 20, batch_size: 10, optimiser: {kind: sgd, lr: 0.01, momentum: 0.9}}
  prune: {rule: mp_threshold, aggressiveness: 0.8, start: 14, every: 2}
replicates: {initialisation: 2}
checkpoints: {minutes: null, epochs: 3}
"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, History]:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "spec.yaml").write_text(SPEC)
    return undisturbed(folder / "spec.yaml", folder / "storage")


def test_a_killed_worker_is_started_again_and_goes_on(tmp_path: Path, expected: dict[str, History]):
    with driver(tmp_path, SPEC) as run:
        run.wait_for(run.checkpoints, "checkpoint")
        kill(run.workers())
        shown = run.finish()
    assert "trained 4 replicates" in shown
    told = assert_nothing_was_lost(run.folder, expected)
    assert any(record.get("resumed_at") for record in told)
    assert {record["forked_from"]["epoch"] for record in told if record["role"] == "pruned"} == {14}
    assert list(run.folder.glob("trials/*/checkpoint/*/*")) == []
    assert list(run.folder.glob("forks/*")) == []
