"""Processes that we own: started here, known by id and start time, ended with everything they started.

Never by name, and never by Ray's own way to stop, which ends every Ray on the machine.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

OWNER = "RMT_CLUSTER_OWNER"  # in the environment of every process a cluster starts: the cluster's folder
GENTLE_SECONDS = 8.0
HARD_SECONDS = 5.0


@dataclass(frozen=True)
class Owned:
    """A process that was started for a service."""

    name: str
    pid: int
    created: float  # seconds since 1970: with the id it names one process, however often ids are used again
    log: Path

    @property
    def process(self) -> psutil.Process | None:
        """The process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) < 0.05 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.NoSuchProcess:
            pass
        return None


def start(name: str, command: Sequence[str], *, folder: Path, log: Path) -> Owned:
    """Start a process that bears the mark of a cluster's own, short-lived `folder` and works in it.

    It gets a session of its own, so that a Ctrl-C in the terminal that started it does not reach it.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env={**os.environ, OWNER: str(folder)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # Nobody here waits for it: `up` returns and `down` may be another process. Else Popen warns when it goes.
    process.returncode = 0
    return Owned(name, process.pid, psutil.Process(process.pid).create_time(), log)


def trees(roots: Iterable[Owned], folder: Path) -> list[psutil.Process]:
    """Every process of a cluster: services, those that bear its mark, and all they started.

    The mark is the cluster's folder, in the environment or as the working folder: some of Ray's processes
    write a title over the first, and a job may leave the second.
    """
    found: dict[int, psutil.Process] = {}
    ours = [process for root in roots if (process := root.process) is not None]
    ours += [process for process in psutil.process_iter() if _bears_mark(process, folder)]
    for process in ours:
        found |= {each.pid: each for each in (process, *_children(process))}
    found.pop(os.getpid(), None)
    return list(found.values())


def listening(roots: Iterable[Owned]) -> dict[int, set[str]]:
    """The TCP ports that services and what they started listen on, each with the addresses."""
    found: dict[int, set[str]] = {}
    for root in roots:
        process = root.process
        for each in (process, *_children(process)) if process else ():
            for port, address in _sockets(each):
                found.setdefault(port, set()).add(address)
    return found


def end(roots: Sequence[Owned], folder: Path, *, gentle_seconds: float = GENTLE_SECONDS) -> None:
    """End the services and every process they started; none is left on return.

    The services get a gentle signal and time to end what they started; whatever is left is killed.
    """
    everything = {process.pid: process for process in trees(roots, folder)}
    services = [process for root in roots if (process := root.process) is not None]
    for process in services:
        _signal(process.terminate)
    psutil.wait_procs(services, timeout=gentle_seconds)
    everything |= {process.pid: process for process in trees(roots, folder)}
    for process in everything.values():
        _signal(process.kill)
    psutil.wait_procs(list(everything.values()), timeout=HARD_SECONDS)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _sockets(process: psutil.Process) -> list[tuple[int, str]]:
    try:
        sockets = process.net_connections(kind="tcp")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
    return [(each.laddr.port, each.laddr.ip) for each in sockets if each.status == psutil.CONN_LISTEN]


def _bears_mark(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get(OWNER) == str(folder) or Path(process.cwd()).is_relative_to(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _signal(send: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        send()
