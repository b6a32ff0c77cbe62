"""Trials in packs: the numbers of the same trials alone, whatever dies, with records of their own."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from sweeps import layout, records
from sweeps.data import load
from sweeps.launch import plan
from sweeps.pack_run import PackRun, Packs
from sweeps.trial import TrialRun
from tests.end_to_end.conftest import command
from tests.end_to_end.faults import History, driver, histories, kill, undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]

# Three twins and three siblings that fork from them: a pack each. Epochs take long enough to be killed in.
SPEC = """
name: packs
trial:
  data: {kind: digits, validation: 300, train_size: 600}
  model: {kind: mlp, widths: [64, 64]}
  training: {epochs: 12, batch_size: 10, optimiser: {kind: sgd, lr: 0.01, momentum: 0.9}}
  prune: {rule: mp_threshold, aggressiveness: 0.8, start: 9, every: 2}
space:
  training.optimiser.lr: {grid: [0.005, 0.01, 0.02]}
replicates: {initialisation: 2}
checkpoints: {minutes: null, epochs: 3}
resources: {pack: 3}
tracking: {pictures: 0}
"""
ALONE_TOLERANCE = 2e-3
"""In single precision, as between stack and solo: rounding of 1e-7 grows over 720 steps."""


def packed(spec: Path, folder: Path) -> dict[str, History]:
    """The history of every twin as this process trains their pack, in one go."""
    made, _ = plan(spec, storage=folder)
    twins, packs = [trial for trial in made if trial.role == "twin"], Packs()
    names = [trial.trial_id for trial in twins]
    runs = [
        TrialRun(trial, trial.replicates, load(trial.spec.data), sweep=folder / "pack", pack=names, packs=packs)
        for trial in twins
    ]
    together = PackRun(runs)
    while together.step():
        pass
    return histories(folder)


def test_packs_lose_nothing_and_are_the_trials_alone(tmp_path: Path):
    spec = tmp_path / "alone.yaml"
    spec.write_text(SPEC)
    twins, alone = packed(spec, tmp_path / "packed"), undisturbed(spec, tmp_path / "alone")
    with driver(tmp_path, SPEC) as first:
        first.wait_for(first.checkpoints, "checkpoint")
        kill(first.workers())
        first.wait_for(lambda: list(first.folder.glob("trials/*/*/record.json")), "record")
        family = first.family()
        first.process.kill()
        kill(family)
    before = {name: record["ended"] for name, record in final(first.folder).items()}
    assert before
    with driver(tmp_path, SPEC) as again:
        shown = again.finish()
    assert f"trained {12 - len(before)} replicates" in shown or len(before) == 12
    told, found = final(again.folder), histories(Path(again.storage))
    assert {name: told[name]["ended"] for name in before} == before, "what was recorded is not trained again"
    assert set(told) == set(found) == set(alone)
    assert {record["status"] for record in told.values()} == {"finished"}
    assert {str(record.get("forked_from", {}).get("epoch")) for record in told.values()} == {"None", "9"}
    assert any(record.get("resumed_at") for record in told.values())
    assert {name: found[name] for name in twins} == twins, "a killed pack resumes whole, to the same bits"
    for name, rows in alone.items():
        for mine, its in zip(found[name], rows, strict=True):
            assert mine["train_loss"] == pytest.approx(its["train_loss"], rel=ALONE_TOLERANCE)
            assert mine["learning_rate"] == its["learning_rate"]
    stacks = [layout.read(folder)[0] for folder in again.folder.glob("trials/*")]
    assert sorted(len(stack.pack) for stack in stacks) == [3] * 6
    assert len({stack.pack for stack in stacks}) == 2


LOST = """
name: lost
plugins: [loses_workers]
trial:
  data: {kind: digits, validation: 300, train_size: 400}
  model: {kind: mlp, widths: [16]}
  training: {epochs: 3, batch_size: 50}
  prune: {rule: none}
space:
  model.widths: {grid: [[16], [24]]}
  initialisation.kind: {grid: [normal_fan_in, xavier_normal, that_loses_workers]}
replicates: {initialisation: 2}
resources: {pack: 3}
limits: {trial_minutes: 0.1, retries: 1}
tracking: {pictures: 0}
"""
# The narrow one takes its worker along twice and is sound then, as what only a pack is too much for; the wide one
# never is.
PLUGIN = """
import os
import signal
import time
from pathlib import Path
from sweeps.initialisations import INITIALISATIONS

@INITIALISATIONS.register(version=1)
def that_loses_workers(module, generator, inputs):
    \"\"\"Ends its process, and hangs the next time.\"\"\"
    narrow = any(16 in parameter.shape for parameter in module.parameters())
    losses = Path(os.environ["LOSSES"], "narrow" if narrow else "wide")
    before = losses.stat().st_size if losses.exists() else 0
    if narrow and before >= 2:
        return
    losses.write_text("x" * (before + 1))
    if before % 2:
        time.sleep(3600)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_pack_that_loses_its_worker_again_and_again_ends_with_its_trials_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "loses_workers.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("LOSSES", str(tmp_path))
    with driver(tmp_path, LOST) as run:
        shown, _ = run.process.communicate(timeout=300)
        assert run.process.returncode == 1, shown
    told = final(run.folder)
    ends = Counter(
        (record["config"]["initialisation"]["kind"], tuple(record["config"]["model"]["widths"]), record["status"])
        for record in told.values()
    )
    sound = {(kind, (width,)) for kind in ("normal_fan_in", "xavier_normal") for width in (16, 24)}
    sound.add(("that_loses_workers", (16,)))
    assert ends == {(*one, "finished"): 2 for one in sound} | {("that_loses_workers", (24,), "failed"): 2}
    assert len(histories(Path(run.storage))) >= 10
    for rows in (
        rows for name, rows in histories(Path(run.storage)).items() if told[name]["status"] == "finished"
    ):
        assert [row["epoch"] for row in rows] == [1, 2, 3]
    [why] = {record["reason"] for record in told.values() if record["status"] == "failed"}
    assert why.startswith("limits.trial_minutes: 0.1 min were over: it hangs")
    assert {stack.pack for folder in run.folder.glob("trials/*") for stack in layout.read(folder)} == {()}
    status = json.loads(command("status", "lost", "--storage", run.storage, "--json").stdout)
    assert status["workers_lost"] == 2 + 2 + 2


def final(sweep: Path) -> dict[str, records.Record]:
    found = {folder.name: records.read_record(folder) for folder in records.folders(sweep)}
    return {name: record for name, record in found.items() if record is not None}
