"""Files that are cut off, a disk that is full, a tracking server that is away: nothing planned is lost."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps import records
from tests.end_to_end.conftest import command
from tests.end_to_end.faults import SPEC, History, assert_nothing_was_lost, driver, kill
from tests.end_to_end.projected import assert_each_epoch_is_there_once

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]


def test_records_that_are_cut_off_are_made_again_with_their_stacks_and_the_others_stay(
    tmp_path: Path, expected: dict[str, History]
):
    with driver(tmp_path, SPEC) as run:
        run.finish()
    found = sorted(run.folder.glob("trials/*/*/record.json"))
    whole = {path: path.read_bytes() for path in found}
    torn = {path.parent.parent: path for path in found}.values()  # one of the two in each stack
    assert len(torn) == 2
    for path, length in zip(torn, (0, -7), strict=True):
        path.write_bytes(whole[path][:length])
    status = command("status", run.name, "--storage", run.storage, "--json")
    assert json.loads(status.stdout)["states"] == {"finished": 2, "started": 2}, status.stderr
    with driver(tmp_path, SPEC) as again:
        shown = again.finish()
    assert "states: 2 finished, 2 started; a launch trains 2" in shown
    assert "trained 2 replicates" in shown
    assert_nothing_was_lost(again.folder, expected)
    for path, content in whole.items():
        assert (path.read_bytes() == content) == (path not in torn)
    assert_each_epoch_is_there_once(f"sqlite:///{Path(run.storage) / 'mlflow.db'}", run, expected)


@pytest.mark.parametrize("what", ["line", "checkpoint"])
def test_what_is_cut_off_is_made_again(tmp_path: Path, expected: dict[str, History], what: str):
    with driver(tmp_path, SPEC) as run:
        run.wait_for(run.checkpoints, "checkpoint")
        family = run.family()
        run.process.kill()
        kill(family)
    cut = {
        "line": lambda: next(run.folder.glob("trials/*/*/history.jsonl")),
        "checkpoint": lambda: run.checkpoints()[-1],
    }[what]()
    cut.write_bytes(cut.read_bytes()[:-7])
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


def fill(path: Path, *, leaving: int) -> None:
    """Write until the disk has no more than some bytes left."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(handle, b"0" * 4096)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.ftruncate(handle, os.fstat(handle).st_size - leaving)
        os.close(handle)


def test_a_disk_that_is_full_at_checkpoints_costs_these_alone(
    small_disk: Path, tmp_path: Path, expected: dict[str, History]
):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with driver(tmp_path, SPEC, storage=small_disk, arguments=["--tracking-uri", uri]) as run:
        histories = f"trials/*/*/{records.HISTORY}"
        run.wait_for(lambda: list(run.folder.glob(histories)), "history")
        stuffing = small_disk / "stuffing"
        fill(stuffing, leaving=64 << 10)  # for lines of histories
        saved, [one, *_] = run.checkpoints(), run.folder.glob(histories)
        begun = len(one.read_text().splitlines())
        run.wait_for(lambda: len(one.read_text().splitlines()) >= begun + 4, "four more epochs")
        assert run.checkpoints() == saved
        stuffing.unlink()
        run.finish()
    assert_nothing_was_lost(run.folder, expected)


def test_a_disk_that_is_full_at_a_record_ends_a_sweep_in_order_and_launching_goes_on(
    small_disk: Path, tmp_path: Path, expected: dict[str, History]
):
    # Without checkpoints of its own, a trial writes nothing large between what others fork from and its end.
    text, uri = SPEC.replace("epochs: 3}", "epochs: null}"), f"sqlite:///{tmp_path / 'mlflow.db'}"
    with driver(tmp_path, text, storage=small_disk, arguments=["--tracking-uri", uri]) as run:
        run.wait_for(lambda: list(run.folder.glob("forks/*/*/epoch-*.json")), "a state to fork from")
        stuffing = small_disk / "stuffing"
        fill(stuffing, leaving=64 << 10)
        shown, _ = run.process.communicate(timeout=250)
        assert run.process.returncode == 2, shown
    assert re.search(r"trials/\S+ can not be written: No space left on device", " ".join(shown.split()))
    assert "launch again" in shown
    stuffing.unlink()
    done = command("run", run.spec, "--storage", small_disk, "--tracking-uri", uri)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_was_lost(run.folder, expected)
