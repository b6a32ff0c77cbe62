"""Whether convolutions are stacked is measured once a sweep, and then kept."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from sweeps.data import load
from sweeps.layout import Stack
from sweeps.planning import plan_trial
from sweeps.seeds import Seeds
from sweeps.stacking import FOLDER, Stacking, time_both
from sweeps.trial import TrialRun
from tests.sweeps.small_trials import trial

CNN = {"kind": "cnn", "channels": [4], "hidden": [16]}
SHORT = {"epochs": 2, "batch_size": 100, "optimiser": {"kind": "sgd", "lr": 0.05}}


def test_both_ways_are_timed_and_nothing_is_drawn() -> None:
    before = torch.get_rng_state()
    found = time_both(trial(model=CNN), (1, 8, 8), 10, replicates=3, threads=1)
    assert min(found.stack_seconds, found.one_by_one_seconds) > 0
    assert found.together == (found.stack_seconds <= found.one_by_one_seconds)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_answer_counts_for_all_trials_of_a_sweep(tmp_path: Path) -> None:
    stack = Stack(("a", "b"), (Seeds(0), Seeds(1)), threads=1)
    first = Stacking(trial(model=CNN), (1, 8, 8), 10, tmp_path).together(stack)
    [path] = (tmp_path / FOLDER).iterdir()
    told = json.loads(path.read_text())
    assert told["together"] is first
    path.write_text(json.dumps({**told, "together": not first}))
    assert Stacking(trial(model=CNN, prune={"rule": "none"}), (1, 8, 8), 10, tmp_path).together(stack) is not first


def test_what_is_known_is_not_measured(tmp_path: Path) -> None:
    stack = Stack(("a", "b"), (Seeds(0), Seeds(1)), threads=1)
    assert Stacking(trial(), (1, 8, 8), 10, tmp_path).together(stack) is None
    assert Stacking(trial(model=CNN), (1, 8, 8), 10).together(stack) is None
    alone = Stack(("a",), (Seeds(0),), threads=1)
    assert Stacking(trial(model=CNN), (1, 8, 8), 10, tmp_path).together(alone) is None
    assert not (tmp_path / FOLDER).exists()


def test_a_trial_in_several_stacks_keeps_them_and_ends_as_a_whole(tmp_path: Path) -> None:
    spec = trial(model=CNN, training=SHORT, prune={"rule": "none"}, measures={"end": []})
    data = load(spec.data)
    planned = plan_trial(spec, {}, data.fingerprint, [Seeds(n) for n in range(3)])
    run = TrialRun(planned, planned.replicates, data, sweep=tmp_path, most=2)
    while run.step() is not None:
        pass
    assert {result.status.value for result in run.result.replicates} == {"finished"}
    stored = json.loads((tmp_path / "trials" / planned.trial_id / "layout.json").read_text())["stacks"]
    assert [len(stack["members"]) for stack in stored] == [2, 1]
    assert [type(stack["together"]) for stack in stored] == [bool, type(None)]
