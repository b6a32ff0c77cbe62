import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from sweeps.lease import FILE, LOOK_SECONDS, STOP, SweepIsDriven, lease, request_stop
from sweeps.overview import delete_sweep


def holder(**changes):
    alive = {
        "host": os.uname().nodename,
        "process": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "taken": time.time(),
        "alive": time.time(),
    }
    return json.dumps(alive | changes)


def test_the_lease_is_there_while_it_is_held_and_gone_after(tmp_path):
    with lease(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["process"] == os.getpid()
    assert not (tmp_path / FILE).exists()


def test_a_second_driver_is_refused_with_the_holders_identity(tmp_path):
    with (
        lease(tmp_path),
        pytest.raises(SweepIsDriven, match=rf"process {os.getpid()} on .* since"),
        lease(tmp_path),
    ):
        pass
    with lease(tmp_path):
        pass


def test_the_lease_of_a_dead_process_has_ended(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    (tmp_path / FILE).write_text(holder(process=dead.pid))
    with lease(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["process"] == os.getpid()


def test_a_process_number_that_was_given_again_is_not_the_holder(tmp_path):
    (tmp_path / FILE).write_text(holder(process_started=1.0))
    with lease(tmp_path):
        pass


def test_another_hosts_lease_ends_without_signs_of_life(tmp_path):
    (tmp_path / FILE).write_text(holder(host="elsewhere", alive=time.time() - 10))
    with pytest.raises(SweepIsDriven, match="on elsewhere"), lease(tmp_path):
        pass
    (tmp_path / FILE).write_text(holder(host="elsewhere", alive=time.time() - 200))
    with lease(tmp_path):
        pass


def test_a_torn_lease_is_none(tmp_path):
    (tmp_path / FILE).write_text('{"host": "els')
    with lease(tmp_path):
        pass


def test_a_sweep_is_not_deleted_from_under_its_driver(tmp_path):
    """Whatever MLflow knows of it: that a store has no runs says nothing of who drives."""
    (tmp_path / "driven").mkdir()
    (tmp_path / "driven" / "spec.yaml").write_text("name: driven\n")
    uri = f"sqlite:///{tmp_path / 'none.db'}"
    with lease(tmp_path / "driven"):
        with pytest.raises(
            SweepIsDriven, match=rf"process {os.getpid()} .*sweeps stop driven\) and delete it then"
        ):
            delete_sweep("driven", tmp_path, uri)
        assert (tmp_path / "driven" / "spec.yaml").exists()
    delete_sweep("driven", tmp_path, uri)
    time.sleep(2 * LOOK_SECONDS)  # a sign of life, and a look for a request to stop
    assert not (tmp_path / "driven").exists()


IN_BACKGROUND = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""What a script's shell does to a program that it begins with `&`."""
DRIVER = """
import sys, time
from pathlib import Path
from sweeps.lease import lease
with lease(Path(sys.argv[1])) as held:
    try:
        print("driving", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("asked" if held.stop_requested else "interrupted", flush=True)
"""


@pytest.fixture(params=["", IN_BACKGROUND], ids=["", "in the background"])
def driver(tmp_path, request):
    program = [sys.executable, "-c", request.param + DRIVER, str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "driving\n"
            yield process
        finally:
            process.kill()


def test_a_driver_that_is_asked_to_stop_ends_and_gives_the_lease_back(tmp_path, driver):
    assert request_stop(tmp_path, timeout=120)
    assert driver.communicate(timeout=120)[0] == "asked\n"
    assert driver.returncode == 0
    assert not (tmp_path / FILE).exists()
    assert not request_stop(tmp_path, timeout=1)


def test_a_termination_is_taken_for_an_interrupt(tmp_path, driver):
    driver.terminate()
    assert driver.communicate(timeout=120)[0] == "interrupted\n"
    assert not (tmp_path / FILE).exists()


def test_a_request_that_nobody_followed_does_not_end_the_next_driver(tmp_path):
    (tmp_path / STOP).write_text("{}")
    with lease(tmp_path) as held:
        time.sleep(1.5)
        assert not held.stop_requested
