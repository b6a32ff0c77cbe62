"""The projector as a process: beside a sweep, while the server comes, goes and dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from sweeps import tracking, ui
from sweeps.errors import SweepNotFound, TrackingError
from sweeps.tracking import lag as lags
from sweeps.tracking.launch import LOG
from sweeps.tracking.session import _alone
from sweeps.tracking.store import store_uri
from tests.sweeps.tracking.faults import proxy_to
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen

PATIENCE = 240.0  # of a machine that does other things too


def wait_for(what: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Seconds until something is so; fails when it never is."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, "it never came"
        time.sleep(0.1)
    return time.monotonic() - begun


def rows(seen: Seen, sweep: str) -> int:
    if seen.client.get_experiment_by_name(sweep) is None:
        return 0
    return sum(len(seen.rows(run)) for run in seen.runs(sweep, "tags.level = 'replicate'"))


def has_ended(process: int) -> bool:
    """Whether a process has, waited for or not."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def has_rows(seen: Seen, sweep: str, wanted: int) -> bool:
    return rows(seen, sweep) == wanted


@pytest.mark.slow
def test_running_sweep_is_seen_soon_and_whole_when_it_ends(sweep: SweepOnDisk, seen: Seen) -> None:
    projector = tracking.start_projector(sweep.storage, sweep.name)
    assert os.getsid(projector.process.pid) == projector.process.pid, "Ctrl-C at the driver would reach it"
    first, *others = sweep.replicates()
    first.train(1)
    wait_for(lambda: rows(seen, sweep.name) > 0)
    delays: list[float] = []
    while len(delays) < 4 and min(delays, default=10.0) >= 10:  # a busy machine holds up one epoch, not each
        epochs = 2 + len(delays)
        first.train(epochs, since=epochs - 1)
        delays.append(wait_for(partial(has_rows, seen, sweep.name, 11 * epochs)))
    assert min(delays) < 10
    assert seen.replicate(sweep.name, first.replicate_id).info.status == "RUNNING"
    for replicate in (first, *others):
        replicate.finish()
    first.train(6, since=epochs)
    with pytest.raises(TrackingError, match="another projector is at work"), _alone(sweep.folder, 0.2):
        pass
    lag = projector.finish(PATIENCE)
    assert lag.is_complete, str(lag)
    assert projector.process.returncode == 0
    assert rows(seen, sweep.name) == 12 * (6 * 11 + 5)
    assert seen.level(sweep.name, "sweep")[sweep.name].info.status == "FINISHED"
    assert "everything is in MLflow" in (sweep.folder / LOG).read_text()


@pytest.mark.fault
@pytest.mark.slow
def test_projector_ends_when_its_driver_is_killed(sweep: SweepOnDisk, seen: Seen) -> None:
    """A driver that is killed runs nothing; the end of the pipe is what the projector notices."""
    sweep.replicates(0)[0].train(3)
    driver = (
        "import sys, time; from pathlib import Path; from sweeps import tracking;"
        "p = tracking.start_projector(Path(sys.argv[1]), sys.argv[2]); print(p.process.pid, flush=True);"
        "time.sleep(600)"
    )
    command = [sys.executable, "-c", driver, str(sweep.storage), sweep.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: has_ended(pid))
    [run] = seen.level(sweep.name, "replicate").values()
    assert (run.info.status, run.data.tags["status"]) == ("KILLED", "interrupted")
    assert rows(seen, sweep.name) == 3 * 11


@pytest.mark.fault
@pytest.mark.slow
def test_server_that_is_down_first_and_killed_later_gets_everything(tmp_path: Path, migrated_store: Path) -> None:
    database = tmp_path / "server.db"
    database.write_bytes(migrated_store.read_bytes())
    port = ui.free_port()
    address = f"http://127.0.0.1:{port}"
    sweep = SweepOnDisk(tmp_path / "storage", seeds=4, points={"training.optimiser.lr": [0.1, 0.2]})
    sweep.finish()
    projector = tracking.start_projector(sweep.storage, sweep.name, address)
    wait_for(lambda: (projector.lag() or lags.Lag()).reason != "")
    said = projector.lag()
    assert said is not None
    assert (said.replicates, said.epochs) == (16, 16 * 6)
    assert "refused" in said.reason
    with ui.server(f"sqlite:///{database}", port) as base:
        seen = Seen(base)
        wait_for(lambda: rows(seen, sweep.name) > 0)
    with ui.server(f"sqlite:///{database}", port):
        lag = projector.finish(PATIENCE)
        assert lag.is_complete, str(lag)
    seen = Seen(f"sqlite:///{database}")
    assert rows(seen, sweep.name) == 16 * (6 * 11 + 5)
    assert len(seen.level(sweep.name, "trial")) == 4
    assert {run.info.status for run in seen.runs(sweep.name)} == {"FINISHED"}


@pytest.mark.slow
def test_finish_does_not_wait_for_a_server_that_is_down(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, seeds=2, points={"training.optimiser.lr": [0.1]})
    sweep.finish()
    projector = tracking.start_projector(tmp_path, sweep.name, f"http://127.0.0.1:{ui.free_port()}")
    wait_for(lambda: projector.lag() is not None)
    begun = time.monotonic()
    told: list[tracking.Lag] = []
    lag = projector.finish(3.0, told.append)
    assert time.monotonic() - begun < 30
    assert told == [lag, lag]
    assert (lag.replicates, lag.epochs) == (4, 24)
    assert not lag.is_complete
    assert "4 replicates, 24 epochs" in str(lag)
    projector.process.terminate()
    assert "the projector failed; see" in projector.finish(PATIENCE).reason


@pytest.mark.fault
@pytest.mark.slow
def test_slow_server_gets_everything_in_the_end(server: str, tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path, "slowly", seeds=1, points={"training.optimiser.lr": [0.1]})
    sweep.finish()
    with proxy_to(server) as proxy:
        proxy.fault = lambda _method, _path: "slow"
        assert tracking.project(tmp_path, sweep.name, proxy.uri).is_complete
    assert rows(Seen(server), sweep.name) == 2 * (6 * 11 + 5)


def on_standby(process: int) -> psutil.Process:
    """The projector that a process holds ready."""
    children = psutil.Process(process).children()
    [found] = [child for child in children if "--standby" in child.cmdline()]
    return found


@pytest.mark.slow
def test_a_projector_on_standby_is_taken_for_a_sweep_once(sweep: SweepOnDisk, seen: Seen) -> None:
    sweep.finish()
    with tracking.standby() as begun:
        ready = on_standby(os.getpid())
        projector = tracking.start_projector(sweep.storage, sweep.name, seen.uri, begun)
        assert projector.process.pid == ready.pid
        assert begun.take([str(sweep.storage), sweep.name]) is None
    assert projector.finish(PATIENCE).is_complete
    assert projector.process.returncode == 0
    assert rows(seen, sweep.name) == 12 * (6 * 11 + 5)
    assert "everything is in MLflow" in (sweep.folder / LOG).read_text()


@pytest.mark.slow
def test_a_projector_that_has_ended_leaves_the_database_in_one_file(sweep: SweepOnDisk) -> None:
    sweep.finish()
    assert tracking.start_projector(sweep.storage, sweep.name).finish(PATIENCE).is_complete
    assert [file.name for file in sweep.storage.glob("mlflow.db*")] == ["mlflow.db"]


@pytest.mark.slow
def test_a_projector_on_standby_that_has_died_is_replaced(sweep: SweepOnDisk, seen: Seen) -> None:
    with tracking.standby() as begun:
        ready = on_standby(os.getpid())
        ready.kill()
        wait_for(lambda: has_ended(ready.pid))
        projector = tracking.start_projector(sweep.storage, sweep.name, seen.uri, begun)
        assert projector.process.pid != ready.pid
    assert projector.finish(PATIENCE).is_complete


def test_a_projector_on_standby_ends_when_it_is_not_needed_or_its_driver_is_killed() -> None:
    with tracking.standby():
        ready = on_standby(os.getpid())
    assert not ready.is_running()
    driver = (
        "import time; from sweeps import tracking; s = tracking.standby(); s.__enter__(); "
        "print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ready = on_standby(process.pid)
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: has_ended(ready.pid))


@pytest.mark.slow
def test_two_sweeps_write_to_one_store_at_once(storage: Path, seen: Seen) -> None:
    points = {"training.optimiser.lr": [0.1, 0.2]}
    both = [SweepOnDisk(storage, name, seeds=2, points=points) for name in ("one", "other")]
    for sweep in both:
        sweep.finish()
    projectors = [tracking.start_projector(storage, sweep.name) for sweep in both]
    for projector in projectors:
        lag = projector.finish(PATIENCE)
        assert lag.is_complete, str(lag)
    for sweep in both:
        assert rows(seen, sweep.name) == 8 * (6 * 11 + 5)
        assert len(seen.level(sweep.name, "replicate")) == 8


def test_sweep_that_is_not_there_is_said(tmp_path: Path) -> None:
    SweepOnDisk(tmp_path, "there")
    with pytest.raises(SweepNotFound, match="no sweep 'elsewhere'"):
        tracking.project(tmp_path, "elsewhere")


def test_sync_with_a_server_that_does_not_answer_says_so(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path)
    with pytest.raises(TrackingError, match="no MLflow server answers"):
        tracking.project(tmp_path, sweep.name, f"http://127.0.0.1:{ui.free_port()}")


def test_lag_is_said_and_read_again(tmp_path: Path) -> None:
    assert lags.read(tmp_path) is None
    known = lags.identity(tmp_path)
    assert lags.read(tmp_path) is None
    lag = lags.Lag(2, 30, 1, "connection refused", ("trial x: no",))
    lags.write(tmp_path, lag)
    assert lags.read(tmp_path) == lag
    assert lags.identity(tmp_path) == known
    assert str(lags.Lag()) == "everything is in MLflow"
    said = "not in MLflow yet: 2 replicates, 30 epochs, 1 trial (connection refused)\nrefused: trial x: no"
    assert str(lag) == said


def test_password_stays_out_of_messages_and_of_the_command_line(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path)
    address = f"http://me:geheim@127.0.0.1:{ui.free_port()}"
    with pytest.raises(TrackingError) as failure:
        tracking.check(address)
    assert "geheim" not in str(failure.value)
    projector = tracking.start_projector(tmp_path, sweep.name, address)
    command = Path(f"/proc/{projector.process.pid}/cmdline").read_bytes()
    assert b"geheim" not in command
    projector.process.terminate()
    assert "the projector failed; see" in projector.finish(PATIENCE).reason
    assert "geheim" not in (sweep.folder / LOG).read_text()
    assert store_uri(tmp_path, address) == address
