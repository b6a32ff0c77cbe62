"""What a cluster on this machine consists of: its services with free ports, before anything runs."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster import credentials
from cluster.commands import Mlflow, RayHead, RayWorker, Service
from cluster.errors import BadOption
from cluster.ports import free_ports

MOST_NODES = 16
MOST_CPUS = 1024  # Ray starts a worker process for each
OBJECT_STORE_BYTES = (
    100_000_000,
    2_000_000_000,
)  # of one node: Ray's least, with room; what sweeps use at most
OBJECT_STORE_SHARE = 0.3  # of the memory that is free, over all nodes: Ray's own default for one node


@dataclass(frozen=True)
class Plan:
    """The services of a cluster, in the order they start."""

    head: RayHead
    workers: dict[str, RayWorker]
    mlflow: Mlflow | None

    @property
    def services(self) -> dict[str, Service]:
        """By name: `mlflow`, `ray-head`, `ray-worker-1`, ..."""
        first: dict[str, Service] = {"mlflow": self.mlflow} if self.mlflow else {}
        return first | {"ray-head": self.head} | self.workers


def check(nodes: int, cpus: int | None) -> None:
    """Refuse numbers that make no sense.

    Raises:
        BadOption: The message names the option, its value and what is allowed.
    """
    if not 1 <= nodes <= MOST_NODES:
        raise BadOption(f"nodes = {nodes}; allowed: 1 to {MOST_NODES} on one machine")
    if cpus is not None and not 1 <= cpus <= MOST_CPUS:
        raise BadOption(f"cpus = {cpus}; allowed: at least 1 for each node, at most {MOST_CPUS}")


def make_plan(nodes: int, cpus: int | None, folder: Path, short: Path, *, mlflow: bool, tls: bool = False) -> Plan:
    """Choose ports, addresses and shares of this machine.

    Args:
        nodes: Ray nodes, the head included.
        cpus: CPUs of each node; None shares out the machine's cores, at least one each.
        folder: The state folder, with the secrets in it.
        short: A folder of few characters for sockets: their paths have at most 107 bytes, and Ray's use 80.
        mlflow: Whether an MLflow server belongs to it.
        tls: Whether Ray's gRPC goes by TLS.
    """
    port, dashboard, client, mlflow_port, *agents = free_ports(4 + nodes)
    lowest, highest = OBJECT_STORE_BYTES
    share = int(psutil.virtual_memory().available * OBJECT_STORE_SHARE) // nodes
    common = {
        "token_file": credentials.secret_path(folder, credentials.RAY_TOKEN),
        "cpus": cpus or max(1, (os.cpu_count() or 1) // nodes),
        "tls_authority": folder / credentials.FOLDER if tls else None,
        "object_store_bytes": max(lowest, min(highest, share)),
    }
    own = [
        {"node_ip": _loopback(index), "agent_port": agent, "folder": short / f"n{index}"}
        for index, agent in enumerate(agents)
    ]
    ports = {"port": port, "dashboard_port": dashboard, "client_port": client}
    head = RayHead.model_validate({**common, **own[0], **ports})
    address = f"{head.node_ip}:{port}"
    workers = {
        f"ray-worker-{index}": RayWorker.model_validate({**common, **own[index], "address": address})
        for index in range(1, nodes)
    }
    return Plan(head, workers, _mlflow(folder, short, mlflow_port) if mlflow else None)


def _loopback(index: int) -> str:
    """An address of a node's own: 127.0.0.0/8 is loopback on Linux; elsewhere Ray has one node."""
    return f"127.0.0.{2 + index}" if sys.platform == "linux" else "127.0.0.1"


def _mlflow(folder: Path, short: Path, port: int) -> Mlflow:
    data = folder / "mlflow"
    return Mlflow(
        port=port,
        store=f"sqlite:///{data / 'mlflow.db'}",
        artifacts=str(data / "artifacts"),
        allowed_hosts=f"127.0.0.1:{port},localhost:{port}",
        folder=short / "mlflow",
        auth_config=credentials.secret_path(folder, credentials.MLFLOW_AUTH_LOCAL),
        session_key_file=credentials.secret_path(folder, credentials.MLFLOW_SESSION_KEY),
    )
