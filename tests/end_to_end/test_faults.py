"""Whatever dies, every planned replicate ends with one record, and with the numbers of an undisturbed run."""

from __future__ import annotations

import errno
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

import cluster
from cluster.local_cluster import LocalCluster
from sweeps import nodes, records
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
  initialisation.kind: {grid: [normal_fan_in, that_raises, that_hangs, that_is_nan, that_eats]}
replicates: {initialisation: 2}
limits: {trial_minutes: 0.1, retries: 1}
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
    assert "limits.trial_minutes: 0.1 min were over" in by_kind["that_hangs"]["reason"]
    assert re.match("its worker was lost 2 times: .*(worker|process|node)", by_kind["that_eats"]["reason"])
    assert "traceback" not in by_kind["that_eats"]
    assert Counter(json.loads(line)["epoch"] for line in _lines(run.folder)) == {1: 2, 2: 2, 3: 2, 4: 2}

    (tmp_path / "right").touch()
    before = _by_status(run.folder)
    with driver(tmp_path, BAD, arguments=["--retry", "all"]) as again:
        assert "trained 8 replicates" in again.finish()
    after = _by_status(run.folder)
    assert {status: len(kept) for status, kept in after.items()} == {"finished": 10}
    assert all(after["finished"][path] == content for path, content in before["finished"].items())
    kept = [json.loads(path.read_bytes()) for path in run.folder.glob("trials/*/*/attempts/1.json")]
    assert Counter(record["status"] for record in kept) == {"failed": 6, "diverged": 2}
    assert sum("this one never works" in record.get("traceback", "") for record in kept) == 2
    with driver(tmp_path, BAD, arguments=["--retry", "failed"]) as nothing:
        assert "nothing to retry" in nothing.finish()


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


# The node that asks first ends every process; on the others trials wait until it has ended two.
SOUND = """
import os
import signal
import time
from pathlib import Path
import ray
from sweeps.initialisations import INITIALISATIONS

@INITIALISATIONS.register(version=1)
def that_needs_a_sound_node(module, generator, inputs):
    \"\"\"Ends its process on one node.\"\"\"
    here, unsound = ray.get_runtime_context().get_node_id(), Path(os.environ["UNSOUND_NODE"])
    unsound.mkdir(exist_ok=True)
    try:
        (unsound / "first").symlink_to(here)
    except FileExistsError:
        pass
    if os.readlink(unsound / "first") == here:
        (unsound / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while len(list(unsound.iterdir())) < 3:
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster whose workers have a plugin, and a place to say which node is unsound."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "sound_nodes.py").write_text(SOUND)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
        patch.setenv("UNSOUND_NODE", str(folder / "unsound"))
        with cluster.local(nodes=3, cpus=1, mlflow=False, state=folder / "cluster") as here:
            yield here


def test_a_node_that_loses_every_worker_is_avoided_and_named(tmp_path: Path, three_nodes: LocalCluster):
    text = MANY.replace("name: many", "name: unsound\nplugins: [sound_nodes]")
    text = text.replace("prune:", "initialisation: {kind: that_needs_a_sound_node}\n  prune:")
    text = re.sub(r"grid: \[.*\]", "grid: [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]", text)
    text += "limits: {retries: 5, node_failures: 2}\n"
    with driver(tmp_path, text, environment=three_nodes.environment) as run:
        shown = run.finish()
    events = nodes.read(run.folder)
    [avoided] = [event for event in events if event["event"] == "avoided"]
    assert events[-1] == avoided
    assert {event["node"] for event in events} == {avoided["node"]}
    assert len(avoided["trials"]) == 2
    assert all("worker" in event["why"] for event in events[:-1])
    told = list(records.records(run.folder))
    assert Counter(record["status"] for record in told) == {"finished": 6}
    assert avoided["node"] not in {record["environment"]["node"] for record in told}
    status = command("status", "unsound", "--storage", run.storage).stdout
    for said in (shown, status, (run.folder / "report.html").read_text()):
        assert f"Node {avoided['node'][:12]} ({avoided['host']}) is avoided" in said
