"""Sweeps on hosts; a worker is killed, the head is lost, a link is cut: nothing is missing, nothing twice."""

import re
import time
from pathlib import Path

import pytest

from cluster import containers, credentials
from cluster.probe import wait_for
from sweeps import launches, nodes, records
from sweeps.wording import times
from tests.cluster.hosts import Host, wait_for_nodes
from tests.cluster.hosts_sweep import Sweep
from tests.end_to_end.faults import assert_nothing_was_lost, title, undisturbed

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def sweep(hosts: dict[str, Host]) -> Sweep:
    return Sweep(hosts, epochs=200, rates=6)


@pytest.fixture
def finished(sweep: Sweep) -> Sweep:
    """The sweep as the first test leaves it."""
    statuses = sweep.statuses()
    assert statuses == {"finished": sweep.replicates}, (
        f"needs what this file's first test runs; there is {statuses}"
    )
    return sweep


def test_a_killed_worker_and_a_lost_head_lose_nothing(sweep: Sweep) -> None:
    hosts = sweep.hosts
    sweep.submit()
    wait_for(lambda: len(sweep.records()) >= 3, what="the first trial recorded", timeout=300)
    assert "hosts: 12 trials (6 unpruned twins), 36 replicates" in sweep.logs()
    assert hosts["worker-1"].kill("ray-worker") > 0
    before = len(sweep.records())
    wait_for(lambda: len(sweep.records()) > before, what="more trials recorded after the fault", timeout=300)
    assert hosts["ray-head"].kill("ray-head") > 0
    wait_for_nodes(hosts["client"], 3)
    kept = sweep.records()
    assert len(kept) < sweep.replicates

    sweep.wait(sweep.submit(), timeout=400)

    assert sweep.statuses() == {"finished": sweep.replicates}
    assert {path: sweep.records()[path] for path in kept} == kept
    assert sweep.epochs_twice() == 0


def test_a_link_that_is_cut_for_twenty_seconds_changes_no_number_and_the_lost_workers_are_told(
    hosts: dict[str, Host], tmp_path: Path
) -> None:
    sweep = Sweep(hosts, epochs=600, rates=2, name="cut")
    job = sweep.submit()
    begun = f"trials/*/*/{records.HISTORY}"
    wait_for(lambda: trains(hosts["worker-2"]) and any(sweep.folder.glob(begun)), what="training", timeout=100)
    hosts["worker-2"].link("down")
    time.sleep(20)
    assert ["outcome" in launch for launch in launches.read(sweep.folder)] == [False], (
        "its trial can not be heard of"
    )
    hosts["worker-2"].link("up")
    sweep.wait(job, timeout=400)

    assert len(assert_nothing_was_lost(sweep.folder, undisturbed(sweep.spec, tmp_path))) == sweep.replicates
    lost = sweep.told()["workers_lost"]
    assert lost == len(nodes.read(sweep.folder)) <= 1, "it trains one trial at a time"
    report = (sweep.folder / "report.html").read_text()
    table = report.partition(">workers lost<")[2].partition("</table>")[0]
    _, _, *launch = re.findall(r"<t[hd][^>]*>([^<]*)</t", table)  # after the two headings that are left
    assert launch[8] == str(lost)
    for said in (sweep.logs(), report):
        assert (f"Workers were lost {times(lost)}" in said) == bool(lost)


def trains(host: Host) -> bool:
    """Whether a worker of a host has a trial."""
    return any("Trainable" in title(process) for process in host.running("ray-worker"))


def test_the_client_holds_the_token_and_nothing_else(sweep: Sweep) -> None:
    client = sweep.hosts["client"]
    seen = client.run("ls", "/run/secrets", str(client.state), str(sweep.storage)).stdout

    assert seen.split() == [
        "/run/secrets:", "ray_token", f"{client.state}:", f"{sweep.storage}:"
    ]  # fmt: skip
    for package in ("mlflow.client", "optuna.study", "pyarrow.lib", "psycopg2.extensions"):
        assert client.run("python", "-c", f"import {package}").returncode != 0, package


def test_mlflow_has_each_replicate_once_with_its_artifacts_in_the_object_store(finished: Sweep) -> None:
    found = finished.in_mlflow()

    assert isinstance(found["runs"], dict)
    assert set(found["runs"].values()) == {1}
    assert len(found["runs"]) == found["finished"] == finished.replicates
    assert found["doubled"] == 0
    assert found["artifacts"]
    objects = finished.hosts["services"].folder / "objects"
    assert sum(path.stat().st_size for path in objects.glob("*.dat")) > 10_000


def test_no_secret_is_in_a_record_a_log_a_tag_or_a_jobs_metadata(finished: Sweep) -> None:
    hosts = finished.hosts
    own = hosts["client"].state / credentials.FOLDER
    names = (credentials.RAY_TOKEN, credentials.MLFLOW_PASSWORD, credentials.POSTGRES_PASSWORD)
    secrets = [(own / name).read_text().strip() for name in names]
    tags = str(finished.in_mlflow()["tags"])
    code = "import sys; from cluster.client import reach; from cluster import probe; c = reach(); "
    code += "print(probe.get(c.dashboard + '/api/jobs/', headers=c.token_headers)[1])"
    jobs = hosts["client"].run("python", "-c", code, variables=containers.CLIENT).stdout

    assert "sweeps run sweep.yaml" in jobs
    for secret in secrets:
        assert secret not in tags
        assert secret not in jobs
        for folder in (finished.storage, *(host.folder for host in hosts.values())):
            assert holding(folder, secret) == []


def holding(folder: Path, secret: str) -> list[Path]:
    """Files that hold a secret, apart from the copies that services were given."""
    given = {"password", "credentials"}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in given]
    return [path for path in files if secret.encode() in path.read_bytes()]
