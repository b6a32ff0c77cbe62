"""Serving the UI on loopback, and links into it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps import tracking, ui
from sweeps.errors import SweepNotFound, TrackingError
from sweeps.tracking.source import read_plan
from sweeps.tracking.store import store_uri
from sweeps.tracking.view import CURVES, TREE, link, view_tags
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.stores import NOT_OURS, migrated_store, no_address_from_outside, storage

__all__ = ["migrated_store", "no_address_from_outside", "storage"]
pytestmark = [pytest.mark.filterwarnings(warning) for warning in NOT_OURS]


@pytest.mark.slow
def test_serve_says_a_link_that_answers_on_loopback_only_and_ends_with_an_interrupt(storage: Path) -> None:
    sweep = SweepOnDisk(storage, points={"training.optimiser.lr": [0.1]}, seeds=1)
    sweep.finish()
    tracking.project(storage, sweep.name)
    program = (
        "import sys; from pathlib import Path; from sweeps import ui; ui.serve(Path(sys.argv[1]), sys.argv[2], 0)"
    )
    command = [sys.executable, "-c", program, str(storage), sweep.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("http")).strip()
        base, _, rest = address.partition("/#/")
        assert rest == "experiments/1/runs?workflowType=machine_learning&viewStateShareKey=trials"
        with urllib.request.urlopen(f"{base}/health", timeout=120) as answer:
            assert answer.status == 200
        port = int(base.rpartition(":")[2])
        assert _listeners(port) == {"127.0.0.1"}
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(120) == 0
    deadline = time.monotonic() + 60
    while _listeners(port):
        assert time.monotonic() < deadline, "the server was left behind"
        time.sleep(0.1)


def _listeners(port: int) -> set[str]:
    import psutil

    found = psutil.net_connections("tcp")
    return {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port}


def test_store_that_is_not_there_yet_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="there is no MLflow store at"), ui.server(store_uri(tmp_path)):
        pass


def test_port_that_is_taken_is_said(storage: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TrackingError, match=f"port {port}.*--port"), ui.server(store_uri(storage), port):
            pass


def test_link_to_a_sweep_that_is_not_there_lists_those_that_are(storage: Path) -> None:
    sweep = SweepOnDisk(storage)
    tracking.project(storage, sweep.name)
    with pytest.raises(SweepNotFound, match=f"no sweep 'elsewhere'.*there: {sweep.name}"):
        ui.link("http://127.0.0.1:1", "elsewhere", store_uri(storage))
    assert ui.link("http://127.0.0.1:1/", None) == "http://127.0.0.1:1/#/experiments"


def test_address_in_the_spec_is_linked_to_and_not_served(storage: Path) -> None:
    sweep = SweepOnDisk(storage)
    address = f"http://127.0.0.1:{ui.free_port()}"
    (sweep.folder / "spec.yaml").write_text(f"name: {sweep.name}\ntracking: {{uri: '{address}'}}\n")
    with pytest.raises(TrackingError, match=f"no MLflow server answers at {address}"):
        ui.serve(storage, sweep.name, 0, say=lambda _: None)


def test_views_follow_the_objective(tmp_path: Path) -> None:
    objective = {"metric": "validation_loss", "statistic": "ci_high", "mode": "min"}
    plan = read_plan(SweepOnDisk(tmp_path, objective=objective).folder)
    tags = view_tags(plan)
    envelope = json.loads(tags["mlflow.sharedViewState.trials"])
    state = json.loads(envelope["state"])
    assert envelope["name"] == "Trials, best first"
    assert state["orderByKey"] == "metrics.`validation_loss.ci_high`"
    assert state["orderByAsc"] is True
    assert state["selectedColumns"][0] == state["orderByKey"]
    assert {f"params.`{path}`" for path in plan.dimensions} < set(state["selectedColumns"])
    replicates = json.loads(json.loads(tags["mlflow.sharedViewState.replicates"])["state"])
    assert "tags.`trial`" in replicates["selectedColumns"]
    assert all(len(text) <= 5000 for text in tags.values()), "what MLflow takes as an experiment's tag"
    query = "workflowType=machine_learning&viewStateShareKey=tree"
    assert link("http://host:1/", "7", TREE) == f"http://host:1/#/experiments/7/runs?{query}"
    assert link("http://host:1", "7", CURVES).endswith("viewStateShareKey=curves&compareRunsMode=CHART")


def test_views_of_many_dimensions_stay_within_what_mlflow_takes(tmp_path: Path) -> None:
    sweep = SweepOnDisk(tmp_path)
    names = tuple(f"prune.options.name_{n}_{'x' * 90}" for n in range(60))
    plan = replace(read_plan(sweep.folder), dimensions=names)
    tags = view_tags(plan)
    assert all(len(text) <= 5000 for text in tags.values())
    shown = json.loads(json.loads(tags["mlflow.sharedViewState.trials"])["state"])["selectedColumns"]
    assert f"params.`{plan.swept[0]}`" in shown
