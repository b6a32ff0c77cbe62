"""The compose file's services on hosts with addresses of their own, and what faults do to them."""

import logging
import time

import pytest

from cluster import containers
from cluster.probe import basic
from tests.cluster.hosts import Host, wait_for_nodes

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(900)]

CLIENT = containers.CLIENT
LOG = logging.getLogger(__name__)
CONNECT = "import ray; ray.init(); print('connected')"
WORK = """
import ray, time
ray.init(log_to_driver=False)

@ray.remote(num_cpus=1, max_retries=-1)
def work(i):
    time.sleep(1)
    return i

print("sum", sum(ray.get([work.remote(i) for i in range(60)])))
"""
SUBMIT = """
import shlex, sys
from cluster.client import reach
from cluster.job import submit
print(submit(reach(), "python -c " + shlex.quote(sys.argv[1])))
"""
FOLLOW = """
import sys
from cluster.client import reach
from cluster.job import follow
print(follow(reach(), sys.argv[1], timeout=300).log)
"""


def test_a_client_that_holds_only_addresses_and_the_token_finds_all_in_order(hosts: dict[str, Host]) -> None:
    password = (hosts["client"].secrets / "mlflow_admin_password").read_text()
    credentials = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
    storage = str(hosts["client"].folder.parent / "storage")
    done = hosts["client"].run(
        "python", "-m", "cluster", "doctor", "--storage", storage, variables=CLIENT | credentials
    )
    bad = [line for line in done.stdout.splitlines() if line.startswith("BAD")]

    # What it says about addresses is right: between these hosts, credentials do travel in the clear.
    assert [line.split(":")[0] for line in bad] == ["BAD  dashboard address", "BAD  mlflow address"], done.stdout
    for host in ("ray-head", "worker-1", "worker-2"):
        assert f"ok   {hosts[host].address} storage" in done.stdout
    assert password not in done.stdout + done.stderr


def test_without_the_token_nobody_connects(hosts: dict[str, Host]) -> None:
    (hosts["worker-1"].folder / "wrong").write_text("0" * 64)
    impatient = CLIENT | {"RAY_NUM_REDIS_GET_RETRIES": "2"}
    for variables in (
        impatient | {"RAY_AUTH_MODE": "disabled"},
        impatient | {"RAY_AUTH_TOKEN_PATH": str(hosts["worker-1"].folder / "wrong")},
    ):
        done = hosts["worker-1"].run("python", "-c", CONNECT, variables=variables)
        assert done.returncode != 0
        assert "connected" not in done.stdout


def test_mlflow_refuses_who_has_no_password_and_gives_a_new_user_nothing(hosts: dict[str, Host]) -> None:
    password = (hosts["client"].secrets / "mlflow_admin_password").read_text()
    api = "http://mlflow:5000/api/2.0/mlflow"

    def status(path: str, headers: dict[str, str], body: dict[str, str] | None = None) -> int:
        code = (
            f"from cluster import probe; print(probe.call({api + path!r}, headers={headers!r}, body={body!r})[0])"
        )
        return int(hosts["client"].run("python", "-c", code).stdout)

    newcomer = {"username": "newcomer", "password": "a long password"}
    get = "/experiments/get?experiment_id=0"
    assert status(get, {}) == 401
    assert status(get, basic("admin", "password1234")) == 401
    assert status(get, basic("admin", password)) == 200
    assert status("/users/create", {}, newcomer) == 401
    assert status("/users/create", basic("admin", password), newcomer) == 200
    assert status(get, basic(*newcomer.values())) == 403


def test_a_killed_worker_and_a_cut_link_lose_no_task(hosts: dict[str, Host]) -> None:
    began = time.monotonic()
    submitted = hosts["client"].run("python", "-c", SUBMIT, WORK, variables=CLIENT)
    assert submitted.returncode == 0, submitted.stderr
    time.sleep(10)
    assert hosts["worker-1"].kill("ray-worker") > 0
    time.sleep(5)
    hosts["worker-2"].link("down")
    time.sleep(20)
    hosts["worker-2"].link("up")

    done = hosts["client"].run("python", "-c", FOLLOW, submitted.stdout.strip(), timeout=400, variables=CLIENT)
    assert "sum 1770" in done.stdout, done.stdout + done.stderr
    wait_for_nodes(hosts["client"], 3)
    LOG.info("60 tasks of 1 s on 2 CPUs, two faults: %.0f s", time.monotonic() - began)
