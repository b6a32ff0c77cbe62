"""A bucket as the storage of a submitted sweep, asked from a machine without a copy; and of a stopped search."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cluster
from sweeps.bucket import Bucket
from sweeps.cli import app
from tests.end_to_end.conftest import command
from tests.end_to_end.faults import driver, kill
from tests.end_to_end.test_submission import LONG, until
from tests.object_store import in_use

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ADDRESS = "s3://sweeps/runs"
SENT = "name: sent"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the bucket can be used."""
    with in_use(tmp_path_factory.mktemp("bucket")) as given:
        yield given


@pytest.fixture(scope="module")
def here(environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A cluster whose nodes can use the bucket; what a client on another machine needs to know of both."""
    folder = tmp_path_factory.mktemp("cluster")
    with cluster.local(nodes=1, cpus=2, state=folder, mlflow=False) as local:
        known = {name: value for name, value in local.environment.items() if name != "RAY_ADDRESS"}
        yield {**environment, **known, "RMT_MIRRORS": str(folder / "client")}


def test_a_submitted_sweep_in_a_bucket_is_followed_stopped_and_asked_from_elsewhere(
    here: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec, url = tmp_path / "spec.yaml", here["RAY_API_SERVER_ADDRESS"]
    spec.write_text(LONG.replace("name: small", SENT))
    monkeypatch.setenv("RMT_MIRRORS", here["RMT_MIRRORS"])

    def to_cluster(*arguments: str | Path) -> str:
        done = command(*arguments, "--address", url, environment=here)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def asked(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--storage", ADDRESS], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    said = to_cluster("submit", spec, "--storage", ADDRESS)
    assert f"sweeps stop sent --storage {ADDRESS} --address {url}" in said
    bucket = Bucket(ADDRESS)
    until(lambda: " ".join(bucket.below("sent/trials")), r"/record\.json")
    assert re.search(r'"recorded": [1-9]', asked("status", "sent", "--json"))
    assert "stopped sent" in asked("stop", "sent")
    until(lambda: to_cluster("logs", "sent"), "SUCCEEDED")
    assert "nobody drives sent" in to_cluster("stop", "sent", "--storage", ADDRESS)
    halfway = json.loads(asked("status", "sent", "--json"))["recorded"]
    assert 0 < halfway < 27

    short = LONG.replace("epochs: 3000", "epochs: 3").replace("every: 1000", "every: 1")
    spec.write_text(short.replace("name: small", SENT).replace("initialisation: 3", "initialisation: 1"))
    to_cluster("submit", spec, "--storage", ADDRESS)
    assert json.loads(asked("status", "sent", "--watch", "--json"))["states"] == {"diverged": 3, "finished": 6}
    log = until(lambda: to_cluster("logs", "sent"), "SUCCEEDED.*replicates:")
    assert "trained 9 replicates" in log
    [row] = json.loads(asked("list", "--json"))
    assert row["sweep"] == "sent"
    found = json.loads(asked("best", "sent", "--json"))
    assert f"{found[0]['trial_id']}/" in asked("logs", "sent", found[0]["trial_id"])
    assert "everything is in MLflow" in asked("sync", "sent")
    report = Path(asked("report", "sent", "--output", str(tmp_path / "report.html")).strip())
    assert found[0]["trial_id"] in report.read_text()
    assert float(json.loads(asked("du", "sent", "--json"))["sent"]["records"]) > 0


SEARCH = """
name: search
trial:
  data: {kind: digits, validation: 300, train_size: 400}
  model: {kind: mlp, widths: [16]}
  training: {epochs: 4, batch_size: 50}
  prune: {rule: mp_threshold, every: 1}
space:
  training.optimiser.lr: {grid: [1.0e-9, 0.2, 0.3]}
  prune.aggressiveness: {uniform: [0.1, 0.3]}
design: {kind: tpe, trials: 6, startup: 3, at_once: 2}
replicates: {initialisation: 2}
stopper: {kind: asha, reduction: 2}
tracking: {pictures: 0}
"""


@pytest.mark.fault
def test_a_search_with_a_stopper_goes_on_from_a_bucket_on_another_machine(
    environment: Mapping[str, str], tmp_path: Path
):
    bucket = Bucket(ADDRESS)

    def machine(name: str) -> dict[str, str]:
        return {**environment, "RMT_MIRRORS": str(tmp_path / name)}

    def ended() -> list[str]:
        return [key for key in bucket.below("search/trials") if key.endswith("/record.json")]

    with driver(tmp_path, SEARCH, storage=ADDRESS, environment=machine("first")) as first:
        first.wait_for(lambda: len(ended()) >= 4, "four records")
        family = first.family()
        first.process.kill()
        kill(family)
    before = {key: bucket.read(key) for key in ended()}
    assert len(before) < 14
    with driver(tmp_path, SEARCH, storage=ADDRESS, environment=machine("second")) as second:
        second.finish()
    assert {key: bucket.read(key) for key in before} == before, "what was recorded is not trained again"
    told = [json.loads(bucket.read(key) or b"") for key in ended()]
    plan = json.loads(bucket.read("search/plan.json") or b"")
    drawn = {event["ask"] for event in plan["search"]["events"] if "ask" in event}
    assert len(drawn) == 6
    assert len(told) == 2 * len(plan["trials"])
    assert {record["status"] for record in told} == {"finished", "stopped"}
    assert all("asha" in record["reason"] for record in told if record["status"] == "stopped")
    with driver(tmp_path, SEARCH, storage=ADDRESS, environment=machine("third")) as third:
        assert "nothing to train" in third.finish()
