"""Several Ray nodes and an MLflow server on this machine, as processes that we own.

What `up` does: secrets are made if missing; MLflow and the Ray head start at once; as soon as the head
is alive, the other nodes join it; it returns when every node is alive and MLflow answers. If anything fails
on the way, what had started is ended. `down` ends each process with everything it started. Between the two,
only the state file knows, so they may be different processes.

Each node has an address of its own on loopback (127.0.0.2 and on: all of 127.0.0.0/8 is loopback on Linux),
as on real hosts. Ray's own listeners take every interface whatever they are told; the token guards them.
"""

import contextlib
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster import certificates, credentials, probe, processes, state
from cluster.commands import Mlflow, RayWorker, Service
from cluster.credentials import read_secret
from cluster.errors import AlreadyUp, NotUp, StartFailed
from cluster.local_plan import Plan, check, make_plan
from cluster.processes import Owned
from cluster.state import State

START_SECONDS = 180.0
LOG_LINES = 20


@dataclass(frozen=True)
class LocalCluster:
    """A cluster that is up on this machine."""

    folder: Path
    state: State

    @property
    def variables(self) -> dict[str, str]:
        """What a client needs to know, without the secrets."""
        given = {
            "RAY_ADDRESS": self.state.ray_address,
            "RAY_API_SERVER_ADDRESS": self.state.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(credentials.secret_path(self.folder, credentials.RAY_TOKEN)),
        }
        if self.state.tls:
            given |= certificates.files_in(_client_certificate(self.folder), _authority(self.folder)).environment
        if self.state.mlflow_uri is None:
            return given
        return given | {
            "MLFLOW_TRACKING_URI": self.state.mlflow_uri,
            "MLFLOW_TRACKING_USERNAME": credentials.MLFLOW_USER,
        }

    @property
    def secret_variables(self) -> dict[str, Path]:
        """The variables that must hold a secret, each with the file it is in: MLflow's client takes no path."""
        password = credentials.secret_path(self.folder, credentials.MLFLOW_PASSWORD)
        return {"MLFLOW_TRACKING_PASSWORD": password} if self.state.mlflow_uri else {}

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which a client (`sweeps`, `ray`, `mlflow`) finds this cluster and may use it."""
        return self.variables | {name: read_secret(path) for name, path in self.secret_variables.items()}

    @property
    def services(self) -> dict[str, Owned]:
        """The processes by their service's name: `ray-head`, `ray-worker-1`, ..., `mlflow`."""
        return {service.name: service for service in self.state.services}

    def alive_nodes(self) -> list[probe.Node]:
        """The nodes Ray says are alive, none if the head does not answer."""
        return probe.alive_nodes(
            self.state.dashboard, read_secret(credentials.secret_path(self.folder, credentials.RAY_TOKEN))
        )

    def down(self) -> None:
        """End it; nothing of it is left running."""
        down(state_folder=self.folder)


def up(
    *,
    nodes: int = 1,
    cpus: int | None = None,
    state_folder: Path | None = None,
    mlflow: bool = True,
    tls: bool = False,
) -> LocalCluster:
    """Start a cluster on this machine and return when it is ready.

    Args:
        nodes: Ray nodes, 1 to 16, the head included.
        cpus: CPUs that each node offers; by default the machine's cores shared out, at least one each.
        state_folder: Where secrets, logs, MLflow's store and what is up are kept; by default
            `$RMT_CLUSTER_STATE`, else `.cluster` here.
        mlflow: Whether an MLflow server belongs to it.
        tls: Whether Ray's gRPC goes by TLS, with certificates of an authority that is made if missing.

    Raises:
        BadOption: A value is not allowed.
        AlreadyUp: A cluster is up in this state folder.
        StartFailed: A service ended or did not answer; the message has the end of its log.
    """
    check(nodes, cpus)
    folder = (state_folder or state.default_folder()).absolute()
    with state.exclusive(folder):
        known = state.load(folder)
        if known is not None and any(service.process for service in known.services):
            raise AlreadyUp(f"a cluster is up in {folder}; end it first with `python -m cluster down`")
        if known is not None:
            _end(folder, known)
        credentials.initialise(folder)
        (folder / "logs").mkdir(exist_ok=True)
        if tls:
            certificates.make_authority(_authority(folder))
            certificates.issue(_authority(folder), _client_certificate(folder))
        short = Path(tempfile.mkdtemp(prefix="rmt-cluster-"))
        return _start(folder, short, make_plan(nodes, cpus, folder, short, mlflow=mlflow, tls=tls))


def down(*, state_folder: Path | None = None) -> int:
    """End the cluster of a state folder; secrets, logs and MLflow's store stay.

    Returns:
        How many processes of it ran.

    Raises:
        NotUp: None is up there.
    """
    folder = (state_folder or state.default_folder()).absolute()
    if state.load(folder) is None:
        raise NotUp(f"no cluster is up in {folder}; start one with `python -m cluster up`")
    with state.exclusive(folder):
        known = state.load(folder)
        return _end(folder, known) if known is not None else 0


def current(*, state_folder: Path | None = None) -> LocalCluster:
    """The cluster that is up in a state folder, or what is left of it.

    Raises:
        NotUp: None is up there.
    """
    folder = (state_folder or state.default_folder()).absolute()
    known = state.load(folder)
    if known is None:
        raise NotUp(f"no cluster is up in {folder}; start one with `python -m cluster up`")
    return LocalCluster(folder, known)


@contextlib.contextmanager
def local(
    *,
    nodes: int = 1,
    cpus: int | None = None,
    state: Path | str | None = None,
    mlflow: bool = True,
    tls: bool = False,
) -> Iterator[LocalCluster]:
    """A cluster on this machine for the length of a `with`; see `up`."""
    folder = Path(state) if state is not None else None
    here = up(nodes=nodes, cpus=cpus, state_folder=folder, mlflow=mlflow, tls=tls)
    try:
        yield here
    finally:
        here.down()


def _start(folder: Path, short: Path, plan: Plan) -> LocalCluster:
    known = State(
        folder=short,
        nodes=1 + len(plan.workers),
        ray_address=f"{plan.head.node_ip}:{plan.head.port}",
        dashboard=f"http://127.0.0.1:{plan.head.dashboard_port}",
        mlflow_uri=f"http://127.0.0.1:{plan.mlflow.port}" if plan.mlflow else None,
        tls=plan.head.tls_authority is not None,
    )
    state.save(folder, known)
    try:
        for name, service in plan.services.items():
            if isinstance(service, RayWorker):
                # Not when its port is open: a worker gives up if the head is not in the cluster's state by then.
                _wait_for_nodes(LocalCluster(folder, known), 1)
            if isinstance(service, Mlflow):
                _write_ahead(Path(service.store.removeprefix("sqlite:///")))
            known = known.with_service(_launch(name, service, folder, known))
            state.save(folder, known)
        here = LocalCluster(folder, known)
        _wait_for_nodes(here, known.nodes)
        if plan.mlflow is not None:
            url = plan.mlflow.health_url
            _wait(known, lambda: probe.is_well(url), f"MLflow answers at {known.mlflow_uri}")
    except BaseException:  # Ctrl-C too: nothing that was started may stay
        _end(folder, known)
        raise
    return here


def _authority(folder: Path) -> Path:
    return folder / credentials.FOLDER


def _client_certificate(folder: Path) -> Path:
    return folder / credentials.FOLDER / "tls_client"


def _launch(name: str, service: Service, folder: Path, known: State) -> Owned:
    _, *arguments = service.serve()
    return processes.start(
        name,
        [sys.executable, *arguments],
        folder=known.folder,
        log=folder / "logs" / f"{name}.log",
    )


def _wait_for_nodes(here: LocalCluster, nodes: int) -> None:
    _wait(here.state, lambda: len(here.alive_nodes()) >= nodes, f"{nodes} Ray nodes alive")


def _wait(known: State, question: Callable[[], bool], what: str) -> None:
    def asked() -> bool:
        for service in known.services:
            if service.process is None:
                raise StartFailed(
                    f"{service.name} ended while the cluster came up; end of its log:\n{_tail(service.log)}"
                )
        return question()

    probe.wait_for(asked, what=what, timeout=START_SECONDS)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def _write_ahead(database: Path) -> None:
    """Put MLflow's SQLite file in write-ahead mode, which lasts: readers do not lock the writer out."""
    database.parent.mkdir(exist_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.DatabaseError as error:
        raise StartFailed(f"MLflow's store {database}: {error}; move the file away to begin a new one") from error


def _end(folder: Path, known: State) -> int:
    running = sum(service.process is not None for service in known.services)
    processes.end(known.services, known.folder)
    shutil.rmtree(known.folder, ignore_errors=True)
    state.forget(folder)
    return running
