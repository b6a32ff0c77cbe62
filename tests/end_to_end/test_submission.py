"""A sweep as a job: submitted from a client, followed, stopped and gone on with, all through the job server."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import cluster
from cluster.local_cluster import LocalCluster
from sweeps.ray_session import ClusterUnreachable
from sweeps.submission import connect
from tests.end_to_end.conftest import SPEC, command

# What diverges comes first, so that there is a record soon.
LONG = (
    SPEC.replace("epochs: 4", "epochs: 3000")
    .replace("every: 2", "every: 1000")
    .replace("[0.05, 0.1, 1.0e+30]", "[1.0e+30, 0.05, 0.1]")
)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster of one node. Its own MLflow is the one of its environment."""
    with cluster.local(nodes=1, cpus=2, state=tmp_path_factory.mktemp("cluster")) as local:
        yield local


@pytest.fixture(scope="module")
def here(local: LocalCluster) -> dict[str, str]:
    """What a client needs to know of it."""
    return {k: v for k, v in local.environment.items() if k != "RAY_ADDRESS"}


def until(ask, wanted: str, seconds: float = 250.0) -> str:
    """Ask until the answer has it."""
    end = time.monotonic() + seconds
    while not re.search(wanted, answer := ask(), flags=re.DOTALL):
        assert time.monotonic() < end, f"{wanted!r} did not come; the last answer was\n{answer}"
        time.sleep(1)
    return answer


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_submitted_sweep_is_followed_stopped_and_gone_on_with(here: dict[str, str], tmp_path: Path):
    spec, storage = tmp_path / "spec.yaml", tmp_path / "shared"
    spec.write_text(LONG.replace("name: small", "name: sent"))
    url = here["RAY_API_SERVER_ADDRESS"]
    there = ("--storage", storage, "--address", url)

    def on_cluster(*arguments: str | Path) -> str:
        done = command(*arguments, environment=here)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    begun = time.monotonic()
    said = on_cluster("submit", spec, *there)
    assert time.monotonic() - begun < 60
    assert f"sweeps stop sent --storage {storage} --address {url}" in said
    until(lambda: " ".join(path.name for path in storage.glob("sent/trials/*/*/record.json")), "record")
    assert re.search(r'"recorded": [1-9]', on_cluster("status", "sent", *there, "--json"))
    assert "stopped sent" in on_cluster("stop", "sent", *there)
    halfway = len(list(storage.glob("sent/trials/*/*/record.json")))
    assert 0 < halfway < 27
    assert "nobody drives sent" in on_cluster("stop", "sent", *there)
    until(lambda: on_cluster("logs", "sent", "--address", url), "SUCCEEDED")
    assert "sent" in on_cluster("list", *there)
    assert float(json.loads(on_cluster("du", "sent", *there, "--json"))["sent"]["records"]) > 0

    spec.write_text(
        LONG.replace("name: small", "name: sent")
        .replace("epochs: 3000", "epochs: 3")
        .replace("every: 1000", "every: 1")
        .replace("initialisation: 3", "initialisation: 1")
    )
    on_cluster("submit", spec, *there)
    log = until(lambda: on_cluster("logs", "sent", "--address", url), "SUCCEEDED.*replicates:")
    assert "trained 9 replicates" in log
    trial = next(storage.glob("sent/trials/*")).name
    assert f"{trial}/" in on_cluster("logs", "sent", trial, *there)
    on_cluster("submit", spec, *there, "--retry", "failed")
    until(lambda: on_cluster("logs", "sent", "--address", url), "SUCCEEDED.*nothing to retry")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_job_whose_driver_has_not_begun_is_stopped_as_a_job(here: dict[str, str], tmp_path: Path):
    (tmp_path / "slow_to_begin.py").write_text(
        "import os, time\nif 'RAY_ADDRESS' in os.environ:  # as in a job\n    time.sleep(3600)\n"
    )
    spec, storage = tmp_path / "spec.yaml", tmp_path / "shared"
    spec.write_text(SPEC.replace("name: small", "name: slow\nplugins: [slow_to_begin]"))
    url = here["RAY_API_SERVER_ADDRESS"]
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    sent = command("submit", spec, "--storage", storage, "--address", url, environment=here | path)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    job = re.search(r"submitted slow as (\S+);", sent.stdout)
    assert job
    other = command("stop", "slow", "--storage", tmp_path / "other", "--address", url, environment=here)
    assert other.returncode == 2
    assert f"under way that keep their records elsewhere: --storage {storage}" in " ".join(other.stderr.split())
    stopped = command("stop", "slow", "--storage", storage, "--address", url, environment=here)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert f"stopped slow before its driver began: job {job[1]}" in stopped.stdout
    assert f"job {job[1]}: STOPPED" in command("logs", "slow", "--address", url, environment=here).stdout
    again = command("stop", "slow", "--storage", storage, "--address", url, environment=here)
    assert again.returncode == 1
    assert "no sweep 'slow' in" in again.stdout


@pytest.mark.slow
def test_an_address_that_refuses_says_what_to_check(local: LocalCluster, here: dict[str, str], tmp_path: Path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    wrong = {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "wrong"}
    for what, address, environment, message in (
        ("submit", local.state.dashboard, wrong, "its token"),
        ("run", local.state.ray_address, wrong, f"the Ray at '{local.state.ray_address}' refuses: "),
        ("submit", "http://127.0.0.1:9", {}, "no job server at 'http://127.0.0.1:9'"),
        ("submit", "127.0.0.1:6379", {}, "allowed: http://HOST:8265"),
    ):
        told = here | environment
        done = command(what, spec, "--storage", tmp_path, "--address", address, environment=told, timeout=100)
        assert done.returncode == 2, done.stdout
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_relative_storage_and_a_password_in_an_address_are_refused(tmp_path: Path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    done = command(
        "submit", spec, "--address", "http://127.0.0.1:9", "--tracking-uri", "http://me:secret@host:5000"
    )
    assert done.returncode == 2
    assert "storage: './sweeps-data' is relative" in done.stderr
    bucket = command("submit", spec, "--address", "http://127.0.0.1:9", environment={"RMT_STORAGE": "gs://bucket"})
    assert bucket.returncode == 2
    assert "storage: an address with gs:// is none that records can be kept at; allowed: a folder" in bucket.stderr
    assert "tracking.uri: an address with a password" in done.stderr
    assert "secret" not in done.stderr


def test_an_address_where_no_driver_can_connect_is_refused_before_anything_starts(tmp_path: Path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    for address, message in (
        ("127.0.0.1:9", "no Ray at '127.0.0.1:9': nobody answers"),
        ("http://127.0.0.1:8265", "takes jobs (sweeps submit SPEC --address http://127.0.0.1:8265)"),
    ):
        done = command("run", spec, "--storage", tmp_path / "storage", "--address", address, timeout=240)
        assert done.returncode == 2, done.stdout
        assert message in " ".join(done.stderr.split())
        assert not (tmp_path / "storage" / "small").exists()


SAYS_ANOTHER_VERSION = """
import json
import os
import sys

from ray._raylet import GcsClient

client = GcsClient(address=sys.argv[1])
told = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster"))
print(told["ray_version"])
other = json.dumps(told | {"ray_version": sys.argv[2]}).encode()
client.internal_kv_put(b"CLUSTER_METADATA", other, True, b"cluster")
"""


@pytest.mark.slow
def test_a_driver_and_a_cluster_of_different_versions_of_ray_are_both_named(local: LocalCluster, tmp_path: Path):
    spec, address, here = tmp_path / "spec.yaml", local.state.ray_address, local.environment
    spec.write_text(SPEC)

    def say(version: str) -> str:
        program = [sys.executable, "-c", SAYS_ANOTHER_VERSION, address, version]
        return subprocess.run(
            program, env=os.environ | here, check=True, capture_output=True, text=True
        ).stdout.strip()

    own = say("2.40.0")
    try:
        begun = time.monotonic()
        done = command("run", spec, "--storage", tmp_path / "storage", "--address", address, environment=here)
        took = time.monotonic() - begun
    finally:
        say(own)
    assert done.returncode == 2, done.stdout
    said = " ".join(done.stderr.split())
    assert f"no Ray at '{address}': Version mismatch: The cluster was started with: Ray: 2.40.0 Python: " in said
    assert f"Ray: {own} Python: " in said
    assert f"and that it has this version of Ray, {own}" in said
    assert took < 60
    assert not list((tmp_path / "storage").glob("small/trials/*"))


@contextmanager
def answering(document: dict[str, Any] | None) -> Iterator[str]:
    """A server that gives every question the same answer, or lets it wait for one; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    if document is None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            yield f"http://127.0.0.1:{silent.getsockname()[1]}"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"version": "4", "ray_version": "2.40.0", "ray_commit": "", "session_name": ""},
            "runs Ray 2.40.0, this code drives Ray 2.52 or newer; upgrade the cluster's Ray",
        ),
        ({"hello": "world"}, "is no dashboard of Ray; check the address"),
        (None, "Read timed out"),
    ],
)
def test_what_is_no_job_server_for_this_code_is_said_within_seconds(document: dict[str, Any] | None, message: str):
    with answering(document) as address:
        begun = time.monotonic()
        with pytest.raises(ClusterUnreachable, match=message) as refused:
            connect(address)
    assert address in str(refused.value)
    assert time.monotonic() - begun < 60
