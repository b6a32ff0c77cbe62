"""What hosts give: python -m benchmarks.hosts [--faults], as root on a machine that is free; under ten minutes.

Hosts are network namespaces with the services of docker-compose.yml (`tests/cluster/hosts.py`): a head, two
workers of one core each, and a host with MLflow, PostgreSQL and the object store.

ready       seconds until all of it answers, credentials demanded
throughput  a sweep on two workers against one, beside two bare processes against one, each pinned to its core
faults      with --faults, instead: a sweep of five minutes with a worker killed and a link cut for 20 s, beside
            the time it takes undisturbed: that of a part of it, whose trials cost the same, times its share
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from cluster import containers, processes
from cluster.probe import wait_for
from tests.cluster.hosts import Host, cluster_of_hosts, why_not
from tests.cluster.hosts_sweep import SPEC, Sweep

RATES = 4
CALM_RATES = 8
LONG_SECONDS = 310  # of the sweep with faults, were it undisturbed
# Epochs of tenths of a second, as trainings on a cluster have at least: with epochs of 5 ms, MLflow's server and
# database, which share the workers' two cores here, would have as much to do as the workers.
WORK = {"width": 512, "train_size": 1100}
READY_SECONDS, SHARE, LOST_SECONDS = 60, 0.9, 90
BARE = """
import sys, time
from sweeps import load_spec, run_trial
spec = load_spec(sys.argv[1])
trials = [spec.trial_at({"training.optimiser.lr": rate}) for rate in spec.space["training.optimiser.lr"].ends]
for trial in trials[:1]:
    run_trial(trial.model_copy(update={"training": trial.training.model_copy(update={"epochs": 2})}), id, seeds=3)
print("ready", flush=True)
sys.stdin.readline()
begun = time.monotonic()
results = [run_trial(trial, lambda row: None, seeds=3) for trial in trials]
assert all(one.status == "finished" for result in results for one in result.replicates), results
print(time.monotonic() - begun)
"""
NODES = """
import json
from cluster.client import reach
print(json.dumps([node.address for node in reach().alive_nodes()]))
"""


def say(name: str, value: str) -> None:
    print(f"{name:<70} {value}", flush=True)


def against(name: str, value: str, must: str, met: bool) -> None:
    """A figure beside what it must be."""
    say(name, f"{value}; must be {must}: {'met' if met else 'MISSED'}")


def pin(host: Host, service: str, core: int) -> None:
    """Keep a service, and all it will start, on one core."""
    for process in processes.trees([host.services[service]], host.folder):
        process.cpu_affinity([core])


def seconds_of(sweep: Sweep) -> float:
    """Run a sweep; from the first replicate's begin to the last one's end, which leaves the driver's start out."""
    sweep.wait(sweep.submit(), timeout=3600)
    records = [json.loads(content) for content in sweep.records().values()]
    assert len(records) == sweep.replicates
    return (max(each["ended"] for each in records) - min(each["started"] for each in records)) / 1000


def bare(folder: Path, count: int, epochs: int) -> float:
    """Seconds of so many processes, each pinned to its core, that train two trials each."""
    spec = folder / "bare.yaml"
    spec.write_text(SPEC.format(name="bare", epochs=epochs, every=epochs // 2, rates=[0.01, 0.02], **WORK))
    running = [
        subprocess.Popen(
            ["taskset", "--cpu-list", str(core), sys.executable, "-c", BARE, str(spec)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for core in range(count)
    ]  # fmt: skip
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return max(float(process.communicate()[0]) for process in running)


def throughput(hosts: dict[str, Host], folder: Path, epochs: int) -> None:
    """Two workers against one, and two bare processes against one, in the same run."""
    one_bare, two_bare = bare(folder, 1, epochs), bare(folder, 2, epochs)
    for core, worker in enumerate(("worker-1", "worker-2")):
        pin(hosts[worker], "ray-worker", core)
    both = seconds_of(Sweep(hosts, epochs, RATES, "both", **WORK))
    second = hosts["worker-2"]
    processes.end([second.services["ray-worker"]], second.folder)
    wait_for_no_more_nodes(hosts["client"], 2)
    alone = seconds_of(Sweep(hosts, epochs, RATES, "alone", first=0.011, **WORK))
    bare_ratio, ratio = 2 * one_bare / two_bare, alone / both
    say("two bare pinned processes against one, throughput", f"{bare_ratio:.2f}x")
    say("two worker hosts of one core against one, throughput", f"{ratio:.2f}x")
    share = ratio / bare_ratio
    against("share of what bare processes reach", f"{share:.2f}", f"at least {SHARE}", share >= SHARE)


def wait_for_no_more_nodes(client: Host, nodes: int) -> None:
    """Wait until the head has given up the nodes that are gone."""

    def given_up() -> bool:
        return len(json.loads(client.run("python", "-c", NODES, variables=containers.CLIENT).stdout)) <= nodes

    wait_for(given_up, what=f"{nodes} nodes alive, no more", timeout=120)


def faults(hosts: dict[str, Host], epochs: int) -> None:
    """A part of a sweep undisturbed, and all of it with a worker killed and a link cut."""
    begun = time.monotonic()
    trained = seconds_of(Sweep(hosts, epochs, CALM_RATES, "calm", **WORK))
    start = time.monotonic() - begun - trained
    each = trained / CALM_RATES
    rates = math.ceil(LONG_SECONDS / each)
    calm = start + rates * each
    say(f"undisturbed: {CALM_RATES} rates of {rates}; so all of them", f"{start + trained:.0f} s; {calm:.0f} s")
    # Learning rates that no earlier sweep had, and small enough that none diverges.
    sweep = Sweep(hosts, epochs, rates, "storm", first=0.0105, step=0.001, **WORK)
    begun = time.monotonic()
    job = sweep.submit()
    time.sleep(calm / 4)
    hosts["worker-1"].kill("ray-worker")
    time.sleep(calm / 4)
    hosts["worker-2"].link("down")
    time.sleep(20)
    hosts["worker-2"].link("up")
    sweep.wait(job, timeout=3600)
    took = time.monotonic() - begun
    lost = took - calm
    against(
        "the sweep with a worker killed and a link cut for 20 s",
        f"{took:.0f} s, {lost:+.0f} s",
        f"at most {LOST_SECONDS} s more",
        lost <= LOST_SECONDS,
    )
    found = sweep.in_mlflow()
    assert isinstance(found["runs"], dict)
    counts = (sweep.replicates, len(sweep.records()), sweep.statuses()["finished"], len(found["runs"]))
    against(
        "replicates planned; recorded; finished; in MLflow",
        "; ".join(map(str, counts)),
        "the same",
        len({*counts}) == 1,
    )
    twice = (sweep.epochs_twice(), sum(count - 1 for count in found["runs"].values()), found["doubled"])
    against(
        "histories with an epoch missing or twice; runs, points twice in MLflow",
        "; ".join(map(str, twice)),
        "none",
        not any(twice),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument(
        "--faults", action="store_true", help="the sweep with faults, which takes nine minutes, not throughput"
    )
    given = parser.parse_args()
    if reason := why_not():
        sys.exit(f"hosts can not be made here: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="rmt-hosts-"))
    folder.chmod(0o755)
    say("load of the machine before", f"{psutil.getloadavg()[0]:.1f}")
    begun = time.monotonic()
    try:
        with cluster_of_hosts(folder) as hosts:
            ready = time.monotonic() - begun
            against(
                "a head, two workers, MLflow on PostgreSQL, object store: ready after",
                f"{ready:.0f} s",
                f"at most {READY_SECONDS} s",
                ready <= READY_SECONDS,
            )
            if given.faults:
                faults(hosts, given.epochs)
            else:
                throughput(hosts, folder, given.epochs)
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
