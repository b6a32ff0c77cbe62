"""Whatever dies, every planned replicate ends with one record, and with the numbers of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps import launches, records
from tests.end_to_end.faults import (
    MANY,
    REPOSITORY,
    SPEC,
    History,
    assert_nothing_was_lost,
    driver,
    histories,
    kill,
    told_losses,
    undisturbed,
)

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]


def test_a_killed_worker_is_started_again_and_goes_on(tmp_path: Path, expected: dict[str, History]):
    with driver(tmp_path, SPEC) as run:
        run.wait_for(run.checkpoints, "checkpoint")
        kill(run.workers())  # of the twin: its sibling waits for a state of it
        shown = run.finish()
    assert "trained 4 replicates" in shown
    assert told_losses(run, shown) == 1
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
        shown = run.finish()
    told = assert_nothing_was_lost(run.folder, expected)
    assert len(told) == 60
    assert killed == 10
    assert 1 <= told_losses(run, shown) <= 10  # one that is killed between two trials takes nothing with it


def test_a_driver_killed_at_random_moments_ends_by_the_same_command(tmp_path: Path, expected: dict[str, History]):
    draw = random.Random(11)
    moments = [1 + number + draw.random() for number in range(10)]  # seconds, spread over a whole launch
    draw.shuffle(moments)
    for moment in moments:
        with driver(tmp_path, SPEC) as run:
            time.sleep(moment)
            family = run.family()
            run.process.kill()
            kill(family)
    with driver(tmp_path, SPEC) as last:
        last.finish()
    assert_nothing_was_lost(last.folder, expected)
    *killed, ended = launches.read(last.folder)
    assert ended["outcome"]["complete"]
    assert (last.folder / "report.html").read_text().count("did not say: still running, or killed") >= len(killed)


BAD = """
name: bad
plugins: [bad_luck]
trial:
  data: {kind: digits, validation: 300, train_size: 400}
  model: {kind: mlp, widths: [64]}
  training: {epochs: 4, batch_size: 50}
  prune: {rule: none}
space:
  initialisation.kind: {grid: [normal_fan_in, that_raises, that_hangs, that_is_nan, that_eats]}
replicates: {initialisation: 2}
limits: {trial_minutes: 0.3, retries: 1}
tracking: {pictures: 0}
"""
# What is wrong lies outside of the configurations, and can be set right: then they are ordinary.
PLUGIN = """
import os
import time
from pathlib import Path
from sweeps.initialisations import INITIALISATIONS

def is_right():
    return Path(os.environ["SET_RIGHT"]).exists()

@INITIALISATIONS.register(version=1)
def that_raises(module, generator, inputs):
    \"\"\"Raises.\"\"\"
    if not is_right():
        raise ArithmeticError("this one never works")

@INITIALISATIONS.register(version=1)
def that_hangs(module, generator, inputs):
    \"\"\"Hangs.\"\"\"
    if not is_right():
        time.sleep(3600)

@INITIALISATIONS.register(version=1)
def that_is_nan(module, generator, inputs):
    \"\"\"Not a number, one layer on.\"\"\"
    if not is_right():
        for parameter in module.parameters():
            parameter.data.fill_(1e30)

@INITIALISATIONS.register(version=1)
def that_eats(module, generator, inputs):
    \"\"\"Eats memory, until the system ends its process.\"\"\"
    if not is_right():
        Path(os.environ["SMALL_MEMORY"], "cgroup.procs").write_text(str(os.getpid()))
        eaten = [bytearray(os.urandom(1 << 20) * 16) for _ in range(64)]
        raise AssertionError(f"the system let it have {len(eaten)} times 16 MB")
"""


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A control group whose processes the kernel ends when they take 256 megabytes more."""
    root = Path("/sys/fs/cgroup")
    old = root / "memory"
    place = (old if old.is_dir() else root) / f"rmt-faults-{os.getpid()}"
    try:
        place.mkdir()
        (place / ("memory.limit_in_bytes" if old.is_dir() else "memory.max")).write_text(str(256 << 20))
    except OSError as error:
        if os.environ.get("CI"):
            pytest.fail(f"no small memory: {error}")
        pytest.skip(f"limiting memory needs root and the memory controller: {error}")
    yield place
    place.rmdir()


def test_a_configuration_that_raises_hangs_is_nan_or_eats_memory_ends_as_what_it_is_and_is_retried(
    tmp_path: Path, small_memory: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "bad_luck.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.setenv("SET_RIGHT", str(tmp_path / "right"))
    monkeypatch.setenv("SMALL_MEMORY", str(small_memory))
    with driver(tmp_path, BAD) as run:
        shown, _ = run.process.communicate(timeout=300)
        assert run.process.returncode == 1, shown
    assert "2 × ArithmeticError: this one never works (trial " in shown
    assert "with tracebacks: sweeps logs bad TRIAL" in shown
    assert "Workers were lost " in shown
    assert "trained 10 replicates" in shown, (
        "what its worker, or the driver, had to record as failed was tried, too"
    )
    assert "5/5 trials · 0 running · 1 diverged · 3 failed" in shown
    told = list(records.records(run.folder))
    assert len(told) == 10
    ends = {(record["config"]["initialisation"]["kind"], record["status"]) for record in told}
    assert ends == {
        ("normal_fan_in", "finished"),
        ("that_raises", "failed"),
        ("that_hangs", "failed"),
        ("that_is_nan", "diverged"),
        ("that_eats", "failed"),
    }
    by_kind = {record["config"]["initialisation"]["kind"]: record for record in told}
    assert "ArithmeticError: this one never works" in by_kind["that_raises"]["traceback"]
    assert "limits.trial_minutes: 0.3 min were over" in by_kind["that_hangs"]["reason"]
    assert re.match("its worker was lost 2 times: .*(worker|process|node)", by_kind["that_eats"]["reason"])
    assert "traceback" not in by_kind["that_eats"]
    assert Counter(json.loads(line)["epoch"] for line in _lines(run.folder)) == {1: 2, 2: 2, 3: 2, 4: 2}

    (tmp_path / "right").touch()
    before = _by_status(run.folder)
    with driver(tmp_path, BAD, arguments=["--retry", "all"]) as again:
        shown = again.finish()
    assert "trained 8 replicates" in shown
    assert "Workers were lost" not in shown, "by this launch none was"
    after = _by_status(run.folder)
    assert {status: len(kept) for status, kept in after.items()} == {"finished": 10}
    assert all(after["finished"][path] == content for path, content in before["finished"].items())
    kept = [json.loads(path.read_bytes()) for path in run.folder.glob("trials/*/*/attempts/1.json")]
    assert Counter(record["status"] for record in kept) == {"failed": 6, "diverged": 2}
    assert sum("this one never works" in record.get("traceback", "") for record in kept) == 2
    with driver(tmp_path, BAD, arguments=["--retry", "failed"]) as nothing:
        assert "nothing to retry" in nothing.finish()
    assert_nothing_was_lost(run.folder, _undisturbed_elsewhere(run.spec, tmp_path / "alone"))


def _undisturbed_elsewhere(spec: Path, folder: Path) -> dict[str, History]:
    """As `undisturbed`, in a process of its own, so that this one has none of the spec's plugins."""
    code = "import sys; from pathlib import Path; from tests.end_to_end.faults import undisturbed; "
    code += "undisturbed(*map(Path, sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, str(spec), str(folder)], cwd=REPOSITORY, check=True)
    return histories(folder)


def _by_status(sweep: Path) -> dict[str, dict[Path, bytes]]:
    """Contents of all records, by how they ended."""
    found: dict[str, dict[Path, bytes]] = {}
    for path in sweep.glob("trials/*/*/record.json"):
        content = path.read_bytes()
        found.setdefault(json.loads(content)["status"], {})[path] = content
    return found


def _lines(sweep: Path) -> Iterator[str]:
    for path in sweep.glob("trials/*/*/history.jsonl"):
        yield from path.read_text().splitlines()
