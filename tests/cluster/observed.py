"""What a cluster does on this machine, seen from outside."""

import socket
from typing import Any

import psutil

from cluster import processes
from cluster.local_cluster import LocalCluster


def listening(here: LocalCluster) -> dict[int, set[str]]:
    """The ports that a cluster's processes listen on, each with the addresses."""
    found: dict[int, set[str]] = {}
    for process in processes.trees(here.state.services, here.state.folder):
        for connection in connections(process):
            if connection.status == psutil.CONN_LISTEN:
                found.setdefault(connection.laddr.port, set()).add(connection.laddr.ip)
    return found


def connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections(kind="tcp")
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return []


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def shown(process: psutil.Process) -> str:
    """Arguments and environment; nothing of one that has ended since it was listed, or is not ours to look at."""
    try:
        return f"{process.cmdline()} {process.environ()}"
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""
