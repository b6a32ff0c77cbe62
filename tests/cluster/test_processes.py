import sys
from pathlib import Path

import psutil

from cluster import processes
from cluster.probe import wait_for
from cluster.processes import Owned

SLEEP = "import time; time.sleep(300)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"
STUBBORN = f"import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.mkdir('deaf'); {SLEEP}"
ABANDONS = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"


def test_ending_a_service_ends_its_children(tmp_path: Path) -> None:
    service = start(tmp_path, PARENT)
    child = wait_for(lambda: next(iter(children(service)), None), what="a child", timeout=60)

    processes.end([service], tmp_path)
    assert service.process is None
    assert not child.is_running()


def test_a_service_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    service = start(tmp_path, STUBBORN)
    wait_for((tmp_path / "deaf").exists, what="it ignores the signal", timeout=60)

    processes.end([service], tmp_path, gentle_seconds=0.2)
    assert service.process is None


def test_a_process_whose_parent_is_gone_is_found_by_its_mark(tmp_path: Path) -> None:
    service = start(tmp_path, ABANDONS)
    wait_for(lambda: service.process is None, what="the parent has gone", timeout=60)
    abandoned = processes.trees([service], tmp_path)

    assert len(abandoned) == 1
    processes.end([service], tmp_path)
    assert not abandoned[0].is_running()


def test_a_process_that_dropped_its_environment_is_found_by_where_it_works(tmp_path: Path) -> None:
    service = start(tmp_path, f"import os, sys; os.execve(sys.executable, ['python', '-c', {SLEEP!r}], {{}})")
    wait_for(lambda: service.process is not None and not service.process.environ(), what="dropped", timeout=60)

    assert [process.pid for process in processes.trees([], tmp_path)] == [service.pid]
    processes.end([service], tmp_path)
    assert service.process is None


def test_another_process_with_the_same_id_is_not_ours() -> None:
    me = psutil.Process()
    stranger = Owned("ray-head", me.pid, me.create_time() - 3600, Path("log"))

    assert stranger.process is None
    processes.end([stranger], Path("/nobody"))
    assert me.is_running()


def children(service: Owned) -> list[psutil.Process]:
    process = service.process
    return process.children() if process else []


def start(folder: Path, code: str) -> Owned:
    return processes.start(
        "service",
        [sys.executable, "-c", code],
        folder=folder,
        log=folder / "log",
    )
