"""Nodes that are lost, or lose every worker: their trials are trained elsewhere, and it is said."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import cluster
from cluster.local_cluster import LocalCluster
from sweeps import nodes, records
from tests.end_to_end.conftest import command
from tests.end_to_end.faults import MANY, SPEC, Node, assert_nothing_was_lost, driver, told_losses, undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]


# The node that asks first ends every process; on the others trials wait until it has ended two.
SOUND = """
import os
import signal
import time
from pathlib import Path
import ray
from sweeps.initialisations import INITIALISATIONS

@INITIALISATIONS.register(version=1)
def that_needs_a_sound_node(module, generator, inputs):
    \"\"\"Ends its process on one node.\"\"\"
    here, unsound = ray.get_runtime_context().get_node_id(), Path(os.environ["UNSOUND_NODE"])
    unsound.mkdir(exist_ok=True)
    try:
        (unsound / "first").symlink_to(here)
    except FileExistsError:
        pass
    if os.readlink(unsound / "first") == here:
        (unsound / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while len(list(unsound.iterdir())) < 3:
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster whose workers have a plugin, and a place to say which node is unsound."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "sound_nodes.py").write_text(SOUND)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
        patch.setenv("UNSOUND_NODE", str(folder / "unsound"))
        with cluster.local(nodes=3, cpus=1, mlflow=False, state=folder / "cluster") as here:
            yield here


def test_a_node_that_loses_every_worker_is_avoided_and_named(tmp_path: Path, three_nodes: LocalCluster):
    text = MANY.replace("name: many", "name: unsound\nplugins: [sound_nodes]")
    text = text.replace("prune:", "initialisation: {kind: that_needs_a_sound_node}\n  prune:")
    text = re.sub(r"grid: \[.*\]", "grid: [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]", text)
    text = text.replace("limits: {retries: 10}", "limits: {retries: 5, node_failures: 2}")
    with driver(tmp_path, text, environment=three_nodes.environment) as run:
        shown = run.finish()
    events = nodes.read(run.folder)
    [avoided] = [event for event in events if event["event"] == "avoided"]
    assert events[-1] == avoided
    assert {event["node"] for event in events} == {avoided["node"]}
    assert len(avoided["trials"]) == 2
    assert all("worker" in event["why"] for event in events[:-1])
    told = list(records.records(run.folder))
    assert Counter(record["status"] for record in told) == {"finished": 6}
    assert avoided["node"] not in {record["environment"]["node"] for record in told}
    status = command("status", "unsound", "--storage", run.storage).stdout
    for said in (shown, status, (run.folder / "report.html").read_text()):
        assert f"Node {avoided['node'][:12]} ({avoided['host']}) is avoided" in said


def test_one_node_of_three_lost_three_times_costs_no_replicate(tmp_path: Path, three_nodes: LocalCluster):
    text = SPEC.replace("name: faults", "name: nodes").replace("initialisation: 2", "initialisation: 1")
    text = re.sub(r"prune: .*", "prune: {rule: none}", text)
    text += "space: {training.optimiser.lr: {grid: [0.01, 0.02, 0.03, 0.04]}}\n"
    (tmp_path / "alone.yaml").write_text(text)
    expected = undisturbed(tmp_path / "alone.yaml", tmp_path / "alone")
    lost, *others = (Node(three_nodes, name) for name in ("ray-worker-1", "ray-head", "ray-worker-2"))
    saved: set[Path] = set()

    def trains_on() -> bool:
        for other in others:  # else they would be done before a lost node is back
            other.hold()
        return bool(lost.trainers() and set(run.checkpoints()) - saved)

    with driver(tmp_path, text, environment=three_nodes.environment) as run:
        for _ in range(3):
            run.wait_for(trains_on, "a checkpoint by the node that is to be lost")
            lost.lose()
            saved |= set(run.checkpoints())
            lost.start()
        for other in others:
            other.go_on()
        shown = run.finish()
    assert len(assert_nothing_was_lost(run.folder, expected)) == 4
    events = nodes.read(run.folder)
    assert {event["event"] for event in events} == {"lost"}
    names = {event["node"] for event in events}
    assert len(names) == 3
    assert told_losses(run, shown) == len(events)
    report = (run.folder / "report.html").read_text()
    assert [name for name in names if f" on {name[:12]} (" not in report] == []
