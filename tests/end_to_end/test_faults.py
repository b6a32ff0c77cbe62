"""Whatever dies, every planned replicate ends with one record, and with the numbers of an undisturbed run."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps import records
from tests.end_to_end.conftest import command
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


def test_a_killed_driver_leaves_what_the_same_command_goes_on_from(tmp_path: Path, expected: dict[str, History]):
    with driver(tmp_path, SPEC) as first:
        first.wait_for(first.checkpoints, "checkpoint")
        family = first.family()
        first.process.kill()
        kill(family)
    assert len(list(first.folder.glob("trials/*/*/record.json"))) < 4
    with driver(tmp_path, SPEC) as again:
        again.finish()
    told = assert_nothing_was_lost(again.folder, expected)
    assert any(record.get("resumed_at") for record in told)


MANY = """
name: many
trial:
  data: {kind: digits, validation: 300, train_size: 500}
  model: {kind: mlp, widths: [16]}
  training: {epochs: 6, batch_size: 25}
  prune: {rule: none}
space:
  training.optimiser.lr: {grid: [RATES]}
replicates: {initialisation: 1}
checkpoints: {minutes: null, epochs: 2}
tracking: {pictures: 0}
""".replace("RATES", ", ".join(str(n / 1000) for n in range(1, 61)))


@pytest.mark.timeout(900)
def test_ten_killed_workers_cost_no_replicate_of_sixty_trials(tmp_path: Path):
    (tmp_path / "alone.yaml").write_text(MANY)
    expected = undisturbed(tmp_path / "alone.yaml", tmp_path / "alone")
    draw = random.Random(7)
    killed = 0
    with driver(tmp_path, MANY) as run:
        run.wait_for(lambda: list(run.folder.glob("trials/*/*/history.jsonl")), "history")
        while killed < 10 and run.process.poll() is None:
            time.sleep(draw.uniform(0.5, 2.0))
            if workers := run.workers():
                kill([draw.choice(workers)])
                killed += 1
        run.finish()
    told = assert_nothing_was_lost(run.folder, expected)
    assert len(told) == 60
    assert killed == 10


def test_a_driver_killed_at_random_moments_ends_by_the_same_command(tmp_path: Path, expected: dict[str, History]):
    draw = random.Random(11)
    for _ in range(4):
        with driver(tmp_path, SPEC) as run:
            time.sleep(draw.uniform(2.0, 14.0))
            family = run.family()
            run.process.kill()
            kill(family)
    with driver(tmp_path, SPEC) as last:
        last.finish()
    assert_nothing_was_lost(last.folder, expected)


BAD = """
name: bad
plugins: [bad_luck]
trial:
  data: {kind: digits, validation: 300, train_size: 400}
  model: {kind: mlp, widths: [64]}
  training: {epochs: 4, batch_size: 50}
  prune: {rule: none}
space:
  initialisation.kind: {grid: [normal_fan_in, that_raises, that_hangs, that_is_nan]}
replicates: {initialisation: 2}
limits: {trial_minutes: 0.2}
tracking: {pictures: 0}
"""
PLUGIN = """
import time
import torch
from sweeps.initialisations import INITIALISATIONS

@INITIALISATIONS.register(version=1)
def that_raises(module, generator, inputs):
    \"\"\"Raises.\"\"\"
    raise ArithmeticError("this one never works")

@INITIALISATIONS.register(version=1)
def that_hangs(module, generator, inputs):
    \"\"\"Hangs.\"\"\"
    time.sleep(3600)

@INITIALISATIONS.register(version=1)
def that_is_nan(module, generator, inputs):
    \"\"\"Not a number, one layer on.\"\"\"
    for parameter in module.parameters():
        parameter.data.fill_(1e30)
"""


def test_a_configuration_that_raises_hangs_or_is_nan_ends_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "bad_luck.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with driver(tmp_path, BAD) as run:
        shown, _ = run.process.communicate(timeout=300)
        assert run.process.returncode == 1, shown
    told = list(records.records(run.folder))
    assert len(told) == 8
    ends = {(record["config"]["initialisation"]["kind"], record["status"]) for record in told}
    assert ends == {
        ("normal_fan_in", "finished"),
        ("that_raises", "failed"),
        ("that_hangs", "failed"),
        ("that_is_nan", "diverged"),
    }
    by_kind = {record["config"]["initialisation"]["kind"]: record for record in told}
    assert "ArithmeticError: this one never works" in by_kind["that_raises"]["traceback"]
    assert "limits.trial_minutes: 0.2 min were over" in by_kind["that_hangs"]["reason"]
    assert Counter(json.loads(line)["epoch"] for line in _lines(run.folder)) == {1: 2, 2: 2, 3: 2, 4: 2}


def _lines(sweep: Path) -> Iterator[str]:
    for path in sweep.glob("trials/*/*/history.jsonl"):
        yield from path.read_text().splitlines()


@pytest.mark.parametrize("what", ["record", "line", "checkpoint"])
def test_what_is_cut_off_is_made_again(tmp_path: Path, expected: dict[str, History], what: str):
    with driver(tmp_path, SPEC) as run:
        run.wait_for(run.checkpoints, "checkpoint")
        family = run.family()
        run.process.kill()
        kill(family)
    cut = {
        "record": lambda: next(run.folder.glob("trials/*/*/history.jsonl")).with_name("record.json"),
        "line": lambda: next(run.folder.glob("trials/*/*/history.jsonl")),
        "checkpoint": lambda: run.checkpoints()[-1],
    }[what]()
    content = cut.read_bytes() if cut.exists() else b'{"format": 1, "status": "fin'
    cut.write_bytes(content[:-7])
    with driver(tmp_path, SPEC) as again:
        again.finish()
    assert_nothing_was_lost(again.folder, expected)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        if os.environ.get("CI"):
            pytest.fail(f"no small disk: {made.stderr}")
        pytest.skip(f"mounting a small disk needs root: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(handle, b"0" * 4096)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(handle)


def test_a_full_disk_ends_a_sweep_in_order_and_launching_goes_on(
    small_disk: Path, tmp_path: Path, expected: dict[str, History]
):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with driver(tmp_path, SPEC, storage=small_disk, arguments=["--tracking-uri", uri]) as run:
        run.wait_for(lambda: list(run.folder.glob("trials/*/*/history.jsonl")), "history")
        stuffing = small_disk / "stuffing"
        fill(stuffing)
        shown, _ = run.process.communicate(timeout=250)
        assert run.process.returncode == 2, shown
    assert "can not be written: No space left on device" in shown
    assert "launch again" in shown
    stuffing.unlink()
    done = command("run", spec, "--storage", small_disk, "--tracking-uri", uri)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_was_lost(run.folder, expected)
