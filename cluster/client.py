"""How a cluster is reached: from the state folder of this machine, or from a client's variables."""

import os
from dataclasses import dataclass
from pathlib import Path

from cluster import credentials, local_cluster, probe
from cluster.credentials import read_secret
from cluster.errors import BadOption, NotUp
from cluster.processes import Owned


@dataclass(frozen=True)
class Client:
    """Addresses and credentials; the latter are read when they are used."""

    dashboard: str
    token_file: Path
    mlflow_uri: str | None = None
    mlflow_user: str | None = None
    mlflow_password_file: Path | None = None
    auth_settings: Path | None = None  # MLflow's, where they can be read: on the machine that serves it
    services: tuple[Owned, ...] = ()  # of this machine, where they were started here

    @property
    def token_headers(self) -> dict[str, str]:
        """Ray's token as HTTP headers."""
        return probe.bearer(read_secret(self.token_file))

    @property
    def mlflow_headers(self) -> dict[str, str]:
        """MLflow's name and password as HTTP headers, from the file or the client's variables; empty without."""
        user = self.mlflow_user or os.environ.get("MLFLOW_TRACKING_USERNAME")
        given = self.mlflow_password_file
        password = read_secret(given) if given else os.environ.get("MLFLOW_TRACKING_PASSWORD")
        return probe.basic(user, password) if user and password else {}

    def alive_nodes(self) -> list[probe.Node]:
        """The nodes Ray says are alive, none if the head does not answer."""
        return probe.alive_nodes(self.dashboard, read_secret(self.token_file))

    def roll_call(self, nodes: int) -> str:
        """Which of so many nodes are alive, or that the head does not answer, and where to look for the reason."""
        logs = ", ".join(str(service.log) for service in self.services if service.name.startswith("ray-"))
        where = f"look at {logs or 'the logs of the services ray-head and ray-worker'}"
        try:
            known = probe.ray_nodes(self.dashboard, read_secret(self.token_file))
        except ConnectionError as error:
            return f"the head does not say which are ({error}); {where}"
        alive = [node.address + (" (head)" if node.is_head else "") for node in known if node.alive]
        gone = [node.address for node in known if not node.alive]
        said = f"{len(alive)} of {nodes} alive: {', '.join(alive)}" if alive else f"none of {nodes} alive"
        return said + (f"; given up: {', '.join(gone)}" if gone else "") + f"; {where}"


def reach(state_folder: Path | None = None) -> Client:
    """The cluster of the state folder if one is up there, else the one of a client's variables.

    Raises:
        NotUp: None is up there, and `RAY_API_SERVER_ADDRESS` is not set.
        BadOption: `RAY_AUTH_TOKEN_PATH` is not set beside it.
    """
    try:
        return _here(local_cluster.current(state_folder=state_folder))
    except NotUp:
        dashboard, token = os.environ.get("RAY_API_SERVER_ADDRESS"), os.environ.get("RAY_AUTH_TOKEN_PATH")
        if state_folder is not None or not dashboard:
            raise
    if not token:
        raise BadOption("RAY_AUTH_TOKEN_PATH is not set; give the path of the file with the cluster's token")
    return Client(dashboard.rstrip("/"), Path(token), os.environ.get("MLFLOW_TRACKING_URI"))


def _here(here: local_cluster.LocalCluster) -> Client:
    def secret(name: str) -> Path:
        return credentials.secret_path(here.folder, name)

    return Client(
        here.state.dashboard,
        secret(credentials.RAY_TOKEN),
        here.state.mlflow_uri,
        credentials.MLFLOW_USER,
        secret(credentials.MLFLOW_PASSWORD),
        secret(credentials.MLFLOW_AUTH_LOCAL),
        here.state.services,
    )
