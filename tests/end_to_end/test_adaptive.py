"""A search with a stopper, launched as a person does it; and killed in the middle."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

import sweeps
from sweeps import records
from tests.end_to_end.conftest import command, launch
from tests.end_to_end.faults import driver, histories, kill

pytestmark = pytest.mark.slow

SPEC = """
name: search
trial:
  data: {kind: digits, validation: 300, train_size: 400}
  model: {kind: mlp, widths: [16]}
  training: {epochs: 5, batch_size: 50}
  prune: {rule: mp_threshold, every: 1}
space:
  model.widths: {grid: [[16], [32]]}
  training.optimiser.lr: {grid: [1.0e-9, 0.2, 0.3]}
  prune.aggressiveness: {uniform: [0.1, 0.3]}
design: {kind: tpe, trials: 8, startup: 8, cross: [model.widths]}
replicates: {initialisation: 2}
stopper: {kind: plateau, patience: 2, min_gain: 0.02}
"""


def test_a_search_stops_what_does_not_learn_and_ends_with_the_twins_of_its_best(tmp_path: Path):
    searched = launch(tmp_path, SPEC)
    assert "tpe: 8 trials at most, chosen as it goes; 0 are recorded" in searched.output
    assert "a launch trains 20 replicates at most (8 trials to choose, 2 twins of the best)" in searched.output
    found = list(records.records(searched.folder))
    drawn = {r["trial_id"]: r for r in found if r["role"] == "pruned"}
    twins = {r["trial_id"]: r for r in found if r["role"] == "twin"}
    assert (len(drawn), len(twins)) == (8, 2)
    hopeless = [r for r in found if r["config"]["training"]["optimiser"]["lr"] == 1e-9]
    assert hopeless
    assert {r["status"] for r in hopeless} == {"stopped"}
    assert {r["epochs"] for r in hopeless} == {3}
    assert all("plateau by validation_accuracy mean: no gain" in r["reason"] for r in hopeless)
    assert {r["status"] for r in twins.values()} == {"finished"}
    assert {json.dumps(r["config"]["model"]["widths"]) for r in twins.values()} == {"[16]", "[32]"}
    state = json.loads(searched.ask("status", "search", "--json"))
    assert state["states"]["stopped"] >= len(hopeless)
    assert state["recorded"] == state["replicates"] == 20
    assert sweeps.best("search", k=1, storage=searched.storage)[0].n == 2
    again = command("run", searched.spec, "--storage", searched.storage)
    assert "nothing to train" in again.stdout, again.stderr
    shown = command("plan", searched.spec, "--storage", searched.storage).stdout
    assert "8 trials at most, chosen as it goes; 8 are recorded" in shown


@pytest.mark.fault
def test_a_killed_search_goes_on_with_its_history(tmp_path: Path):
    text = SPEC.replace("startup: 8", "startup: 2, at_once: 1").replace("epochs: 5", "epochs: 4")
    (tmp_path / "whole").mkdir()
    whole = launch(tmp_path / "whole", text)
    with driver(tmp_path, text) as killed:
        killed.wait_for(lambda: len(list(killed.folder.glob("trials/*/*/record.json"))) >= 7, "seven records")
        kill([psutil.Process(killed.process.pid), *killed.family()])
    first = min(killed.folder.glob("trials/*/*/record.json"), key=lambda path: path.stat().st_mtime)
    first.write_bytes(first.read_bytes()[:-7])  # of a trial that the search was told of
    spec, storage = killed.spec, Path(killed.storage)
    begun = {path.name for path in storage.glob("search/trials/*")}
    assert 3 <= len(begun) < 9
    done = command("run", spec, "--storage", storage)
    assert done.returncode == 0, done.stderr
    ours, theirs = (json.loads((f / "plan.json").read_text()) for f in (storage / "search", whole.folder))
    assert [e["ask"] for e in ours["search"]["events"] if "ask" in e] == [
        e["ask"] for e in theirs["search"]["events"] if "ask" in e
    ]
    assert len(list(records.records(killed.folder))) == 2 * len(ours["trials"])
    assert {trial["trial_id"] for trial in ours["trials"]} == {trial["trial_id"] for trial in theirs["trials"]}
    assert histories(storage) == histories(whole.storage)
