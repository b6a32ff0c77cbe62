"""A sweep as processes of its own, what to do to them, and what must be left in the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from typer.testing import CliRunner

from sweeps import document, records
from sweeps.cli import app
from sweeps.data import load
from sweeps.launch import plan
from sweeps.trial import TrialRun
from sweeps.wording import times

if TYPE_CHECKING:
    from cluster.local_cluster import LocalCluster

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 250.0

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
limits: {retries: 10}  # whichever trials the ten are that lose their worker
tracking: {pictures: 0}
""".replace("RATES", ", ".join(str(n / 1000) for n in range(1, 61)))


@dataclass(frozen=True)
class Driver:
    """A running `sweeps run`.

    Attributes:
        process: Of the driver; its Ray and its projector are its descendants.
        spec: Path of the spec.
        storage: Root of the storage, or its address.
        name: Of the sweep.
    """

    process: subprocess.Popen[str]
    spec: Path
    storage: Path | str
    name: str

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        return Path(self.storage) / self.name

    def family(self) -> list[psutil.Process]:
        """The driver's descendants."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """The Ray workers that train."""
        return [process for process in self.family() if "Trainable" in title(process)]

    def checkpoints(self) -> list[Path]:
        """Checkpoints of trials that are under way."""
        return sorted(self.folder.glob("trials/*/checkpoint/*/epoch-*.json"))

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something has happened.

        Raises:
            AssertionError: The driver has ended before, or it takes too long.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert self.process.poll() is None, f"the driver ended before {what}"
            assert time.monotonic() < deadline, f"no {what} in {PATIENCE_SECONDS} s"
            time.sleep(0.05)

    def finish(self) -> str:
        """Wait for the end, which must be a good one; returns what the terminal showed."""
        output, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0, output
        return output


class Node:
    """A node of a local cluster, to be lost as if its power had failed, and started anew."""

    def __init__(self, here: LocalCluster, service: str) -> None:
        self._folder, self._owned = here.state.folder, here.services[service]

    def _family(self) -> list[psutil.Process]:
        process = self._owned.process
        return [process, *process.children(recursive=True)] if process is not None else []

    def trainers(self) -> list[psutil.Process]:
        """Its workers that train."""
        return [process for process in self._family() if "Trainable" in title(process)]

    def hold(self) -> None:
        """Let its trials wait."""
        for process in self.trainers():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def go_on(self) -> None:
        """Let its trials go on."""
        for process in self.trainers():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def lose(self) -> None:
        """End everything that belongs to it."""
        family = self._family()
        self._command, self._environment = family[0].cmdline(), family[0].environ()
        kill(family)

    def start(self) -> None:
        """Start it again, as another node for Ray, with the token that it had."""
        with self._owned.log.open("ab") as log:
            process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process.returncode = 0  # the cluster ends it: it bears its mark
        self._owned = replace(self._owned, pid=process.pid, created=psutil.Process(process.pid).create_time())


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def driver(
    folder: Path,
    text: str,
    *,
    storage: Path | str | None = None,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Driver]:
    """Launch a spec in a process of its own; whatever of it still runs in the end is killed."""
    name = document.parse(text)["name"]  # before anything is started that a text which can not be read would leave
    spec, storage = folder / "spec.yaml", storage or folder / "storage"
    spec.write_text(text)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "RMT_", "TUNE_"))}
    program = [sys.executable, "-c", "from sweeps.cli import main; main()", "run", str(spec)]
    with subprocess.Popen(
        [*program, "--storage", str(storage), *arguments],
        cwd=REPOSITORY,
        env=inherited | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        running = Driver(process, spec, storage, name)
        try:
            yield running
        finally:
            kill([*running.family(), psutil.Process(process.pid)] if process.poll() is None else [])
            process.communicate()


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL, and wait until they are gone; some may be gone already."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=20)


History = list[dict[str, Any]]


def undisturbed(spec: Path, folder: Path) -> dict[str, History]:
    """The history of every planned replicate as this process trains it, in one go, without forks."""
    made, _ = plan(spec, storage=folder)
    for trial in made:
        run = TrialRun(trial, trial.replicates, load(trial.spec.data), sweep=folder / trial.trial_id)
        while run.step() is not None:
            pass
    return histories(folder)


def histories(storage: Path) -> dict[str, History]:
    """The history of every replicate in a storage."""
    return {place.parent.name: _history(place.parent) for place in storage.glob(f"*/trials/*/*/{records.HISTORY}")}


def _history(folder: Path) -> History:
    """Every line that is in the file, so that an epoch written twice shows."""
    lines = (folder / records.HISTORY).read_text().splitlines()
    return [_without_times(json.loads(line)) for line in lines]


def _without_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "time" and not name.endswith("_seconds")}


def assert_nothing_was_lost(sweep: Path, expected: Mapping[str, History]) -> list[records.Record]:
    """Every planned replicate has one sound, finished record, its history undisturbed; returns them."""
    found = {folder.name: folder for folder in records.folders(sweep)}
    assert set(found) == set(expected)
    read = {name: records.read_record(folder) for name, folder in found.items()}
    for name, record in read.items():
        assert record is not None
        assert record["status"] == "finished"
        assert records.damaged(found[name], record) == []
        assert "retrained_epochs_differing" not in record
        assert _history(found[name]) == expected[name]
    return [record for record in read.values() if record is not None]


def told_losses(run: Driver, shown: str) -> int:
    """How many workers a sweep's only launch lost, by what the terminal, `sweeps status` and the report tell."""
    asked = ["status", run.name, "--storage", str(run.storage), "--json"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    status = json.loads(done.stdout)
    count: int = status["workers_lost"]
    lost = f"Workers were lost {times(count)}"
    assert f"{lost}, and their trials begun again" in shown
    assert f"{lost} over all launches" in status["faults"]
    assert f"{lost} over all launches" in (run.folder / "report.html").read_text()
    return count
