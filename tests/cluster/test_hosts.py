"""The compose file's services on hosts with addresses of their own, and what faults do to them."""

import json
import logging
import time
from pathlib import Path

import pytest

from cluster import containers
from cluster.containers import EVERYWHERE
from cluster.probe import basic
from tests.cluster.asked import Answer
from tests.cluster.hosts import Host, wait_for_nodes
from tests.cluster.hosts_sweep import FOLLOW

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


def test_a_client_that_holds_only_addresses_and_the_token_finds_all_in_order(hosts: dict[str, Host]) -> None:
    password = (hosts["client"].state / "secrets" / "mlflow_admin_password").read_text()
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


def test_a_host_sees_no_process_of_another(hosts: dict[str, Host]) -> None:
    assert hosts["client"].run("python", "-c", "import psutil; print(psutil.pids())").stdout == "[1]\n"


def test_what_listens_is_where_it_should_be_and_rays_ports_refuse_without_the_token(
    hosts: dict[str, Host],
) -> None:
    services = hosts["services"]

    open_ones = {port: listening for port, listening in sockets(services).items() if listening - {"127.0.0.1"}}
    assert open_ones == {
        5432: {services.address},  # PostgreSQL, by password
        5000: {EVERYWHERE},  # MLflow, by password
        8333: {EVERYWHERE},  # the object store, by key
        18333: {EVERYWHERE},  # its control port, by signature
    }
    assert sockets(hosts["client"]) == {}
    assert {6379, 8265, 10001} <= set(sockets(hosts["ray-head"]))
    for name in ("ray-head", "worker-1", "worker-2"):
        host = hosts[name]
        reached = [port for port, listening in sockets(host).items() if listening - {"127.0.0.1"}]
        answers = asked(hosts["client"], [f"{host.address}:{port}" for port in reached])
        assert len(answers) == len(reached) >= 4
        for address, answer in answers.items():
            assert answer.refuses or answer.is_metrics, (name, address, answer)
        assert sum(answer.is_metrics for answer in answers.values()) <= 3, answers


def sockets(host: Host) -> dict[int, set[str]]:
    """The ports that something on a host listens on, each with the addresses."""
    found: dict[int, set[str]] = {}
    for line in host.run("ss", "--listening", "--tcp", "--numeric", "--no-header").stdout.splitlines():
        address, _, port = line.split()[3].rpartition(":")
        name = address.strip("[]").removeprefix("::ffff:").partition("%")[0]
        found.setdefault(int(port), set()).add({"*": EVERYWHERE, "::": EVERYWHERE}.get(name, name))
    return found


def asked(client: Host, addresses: list[str]) -> dict[str, Answer]:
    """What ports answer to a client without the token."""
    done = client.run("python", str(Path(__file__).with_name("asked.py")), *addresses, timeout=300)
    lines = [line for line in done.stdout.splitlines() if line.startswith("asked ")]
    assert lines, done.stdout + done.stderr
    answers = json.loads(lines[0].removeprefix("asked "))
    return {address: Answer(**{**each, "codes": tuple(each["codes"])}) for address, each in answers.items()}


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
    password = (hosts["client"].state / "secrets" / "mlflow_admin_password").read_text()
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

    done = hosts["client"].run(
        "python", "-c", FOLLOW, submitted.stdout.strip(), "300", timeout=400, variables=CLIENT
    )
    assert "sum 1770" in done.stdout, done.stdout + done.stderr
    wait_for_nodes(hosts["client"], 3)
    LOG.info("60 tasks of 1 s on 2 CPUs, two faults: %.0f s", time.monotonic() - began)
