"""The batch script of Slurm on two hosts: one job is one Ray on all its nodes, started and ended with it.

Slurm itself stands aside: `scontrol` and `srun` are stand-ins of some lines. The nodes are network namespaces, and
what runs on one sees its own processes only, as on a machine of its own: `ray symmetric-run` ends by `ray stop`,
which ends every Ray in sight.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster import processes
from tests.cluster.hosts import Host, network, why_not
from tests.cluster.hosts_sweep import SPEC

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(600)]

JOB, EPOCHS, REPLICATES = 77, 8, 12
SCONTROL = """#!/bin/sh
[ "$*" = "show hostnames node-[1-2]" ] && printf 'node-1\\nnode-2\\n'
"""
# Each node in a namespace of processes of its own, which ends whatever it started when its first process ends.
SRUN = """#!/bin/sh
[ "$1" = --kill-on-bad-exit=1 ] && shift || exit 64
for node in node-1 node-2; do
  mkdir -p "$NODES/$node"
  RAY_TMPDIR=$NODES/$node TMPDIR=$NODES/$node HOSTNAME=$node \\
    ip netns exec "$PREFIX-$node" unshare --pid --fork --kill-child --mount-proc "$@" >"$NODES/$node.log" 2>&1 &
  tasks="$tasks $!"
done
for task in $tasks; do wait "$task" || status=$?; done
exit ${status:-0}
"""


@pytest.fixture
def nodes() -> Iterator[dict[str, Host]]:
    if reason := why_not():
        assert not os.environ.get("CI"), f"CI must be able to make hosts: {reason}"
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="rmt-slurm-"))
    try:
        with network(["node-1", "node-2"], folder) as hosts:
            yield hosts
    finally:
        shutil.rmtree(folder)


def test_a_job_runs_its_sweep_on_all_its_nodes_and_leaves_none_running(
    nodes: dict[str, Host], repository: Path
) -> None:
    first = nodes["node-1"]
    folder = first.folder.parent
    spec = folder / "slurm.yaml"
    spec.write_text(
        SPEC.format(name="slurm", epochs=EPOCHS, every=4, rates=[0.01, 0.02], width=64, train_size=400)
        + "resources: {cpus: 2}\n"  # all of a node: the two twins train on two nodes
    )
    own = {"NODES": str(folder / "nodes"), "PREFIX": first.namespace.removesuffix("-node-1")}
    slurm = {"SLURM_JOB_NODELIST": "node-[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": str(JOB)}

    done = subprocess.run(
        [
            "ip", "netns", "exec", first.namespace,
            "bash", str(repository / "cluster/slurm/sweep.sbatch"), str(spec), str(folder / "storage"),
        ],
        env=environment(first) | own | slurm, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip

    logs = "".join(log.read_text() for log in sorted((folder / "nodes").glob("*.log")))
    assert done.returncode == 0, done.stderr + logs
    records = [json.loads(path.read_text()) for path in folder.glob("storage/slurm/trials/*/*/record.json")]
    assert [record["status"] for record in records] == ["finished"] * REPLICATES, logs
    for history in folder.glob("storage/slurm/trials/*/*/history.jsonl"):
        assert [json.loads(line)["epoch"] for line in history.read_text().splitlines()] == list(
            range(1, EPOCHS + 1)
        )
    assert len({record["environment"]["node"] for record in records}) == 2
    assert [process for process in psutil.process_iter() if owned(process, first)] == []


def environment(node: Host) -> dict[str, str]:
    """What a job's script sees: Slurm's commands, the token's folder, and the mark by which it is found again."""
    commands = node.folder / "slurm"
    commands.mkdir()
    for name, text in {"scontrol": SCONTROL, "srun": SRUN}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    inherited = {name: each for name, each in node.environment.items() if name != "RAY_TMPDIR"}
    own = {"PATH": f"{commands}:{inherited['PATH']}", "RMT_CLUSTER_STATE": str(node.state)}
    return inherited | own | {processes.OWNER: str(node.folder)}


def owned(process: psutil.Process, node: Host) -> bool:
    """Whether it came of this job; one that ended meanwhile did not."""
    try:
        return process.environ().get(processes.OWNER) == str(node.folder)
    except psutil.Error:
        return False
