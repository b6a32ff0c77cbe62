"""A sweep as a job: submitted from a client, followed, stopped and gone on with, all through the job server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import cluster
from tests.end_to_end.conftest import SPEC, command

LONG = SPEC.replace("epochs: 4", "epochs: 3000").replace("every: 2", "every: 1000")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A cluster of one node; what a client needs to know of it. Its own MLflow is the one of its environment."""
    with cluster.local(nodes=1, cpus=2, state=tmp_path_factory.mktemp("cluster")) as local:
        yield {k: v for k, v in local.environment.items() if k != "RAY_ADDRESS"}


def until(ask, wanted: str, seconds: float = 120.0) -> str:
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
def test_an_address_that_refuses_says_what_to_check(here: dict[str, str], tmp_path: Path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    url = here["RAY_API_SERVER_ADDRESS"]
    for address, environment, message in (
        (url, {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "wrong"}, "its token"),
        ("http://127.0.0.1:9", {}, "no job server at 'http://127.0.0.1:9'"),
        ("127.0.0.1:6379", {}, "allowed: http://HOST:8265"),
    ):
        done = command("submit", spec, "--storage", tmp_path, "--address", address, environment=here | environment)
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
