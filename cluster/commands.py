"""The one place that knows how each service is started.

`Service.serve()` is the command line that the local cluster, docker-compose.yml, the Kubernetes files and
the host tests all start: `python -m cluster serve ray-head --port 6379 ...`. `cluster.serve` parses it back
into the same model, reads secrets from their files and becomes `Service.program()` by exec, so that the
process id stays.

No secret is ever a value here: options hold the paths of secret files.
"""

import sys
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cluster import certificates, object_store

# How soon a connection is found dead after a link was cut and joined again. By default a client of Ray asks every
# five minutes and waits two: a task whose answer was lost with the link hangs that long (seen, and ray#44612).
KEEPALIVE = {"RAY_grpc_client_keepalive_time_ms": "20000", "RAY_grpc_client_keepalive_timeout_ms": "20000"}
# How often a node asks the head whether it still belongs to the cluster. A head that was lost comes back with a
# new one, and nothing else tells a worker to leave the old: by default it may stay away for more than a minute.
BELONGING = {"RAY_raylet_liveness_self_check_interval_ms": "10000"}

Port = Annotated[int, Field(ge=1024, le=65535)]


class Service(BaseModel):
    """What the services share: options as fields, from which command line and program follow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]

    folder: Path | None = Field(None, description="folder for this service's sockets, logs and temporary files")

    def serve(self) -> list[str]:
        """The command line that starts this service in the foreground, without the interpreter's path."""
        options: list[str] = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None and value != type(self).model_fields[name].default:
                options += ["--" + name.replace("_", "-"), str(value)]
        return ["python", "-m", "cluster", "serve", self.kind, *options]

    @abstractmethod
    def program(self) -> list[str]:
        """What the process becomes."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Variables the program needs besides those it inherits; never a secret's value."""

    def secrets(self) -> dict[str, Path]:
        """Variables the program takes from nowhere but its environment: name to file with the value."""
        return {}

    def prepare(self) -> None:
        """What must be there before the program starts; nothing for most."""

    @property
    @abstractmethod
    def health_url(self) -> str:
        """An address on the service's own machine that answers 200, without credentials, while it is well."""


class RayNode(Service):
    """Options that the head and the workers share."""

    token_file: Path = Field(description="file with Ray's token, mode 0600")
    node_ip: str | None = Field(
        None, description="address other nodes reach this node at; found by Ray if not given"
    )
    agent_port: Port = Field(52365, description="port of this node's dashboard agent")
    cpus: int | None = Field(None, ge=0, description="CPUs to offer; all if not given")
    gpus: int | None = Field(None, ge=0, description="GPUs to offer; all that Ray sees if not given")
    object_store_bytes: int | None = Field(None, ge=80_000_000, description="memory for Ray's object store")
    tls_authority: Path | None = Field(
        None,
        description="folder with tls_ca.crt and tls_ca.key: gRPC by TLS, by a certificate made at the start",
    )
    tls_names: str | None = Field(None, description="comma-separated further names that others reach this node by")

    def environment(self) -> dict[str, str]:
        """Token authentication on, no usage reports, temporary files in the node's folder."""
        given = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            **KEEPALIVE,
            **BELONGING,
        }
        if self.tls_authority:
            given |= certificates.files_in(self._tls_folder, self.tls_authority).environment
        return given | ({"TMPDIR": str(self.folder)} if self.folder else {})

    def prepare(self) -> None:
        """Make this node's certificate, for the addresses it has now."""
        if self.tls_authority:
            names = self.tls_names.split(",") if self.tls_names else []
            own = [self.node_ip] if self.node_ip else []
            certificates.issue(self.tls_authority, self._tls_folder, [*names, *own])

    @property
    def _tls_folder(self) -> Path:
        return (self.folder or Path.home() / ".rmt") / "tls"

    @property
    def health_url(self) -> str:
        """The agent's word on its raylet."""
        return f"http://127.0.0.1:{self.agent_port}/api/local_raylet_healthz"

    def _start(self, *role: str) -> list[str]:
        options = {
            "--node-ip-address": self.node_ip,
            "--dashboard-agent-listen-port": self.agent_port,
            "--num-cpus": self.cpus,
            "--num-gpus": self.gpus,
            "--object-store-memory": self.object_store_bytes,
            "--temp-dir": self.folder,
        }
        given = [str(part) for name, value in options.items() if value is not None for part in (name, value)]
        return [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            "--log-color",
            "false",
            *role,
            *given,
        ]


class RayHead(RayNode):
    """The Ray node that holds the cluster's state, its dashboard and its jobs."""

    kind: ClassVar[str] = "ray-head"

    port: Port = Field(6379, description="port of Ray's control service: RAY_ADDRESS")
    dashboard_host: str = Field("127.0.0.1", description="address the dashboard and the job interface listen on")
    dashboard_port: Port = Field(8265, description="port of the dashboard and the job interface")
    client_port: Port = Field(10001, description="port of the Ray client server")
    autoscaling_config: Path | None = Field(None, description="the file with which Ray's launcher adds nodes")

    def program(self) -> list[str]:
        """`ray start --head --block`."""
        return self._start(
            *("--head", "--port", str(self.port), "--ray-client-server-port", str(self.client_port)),
            *("--dashboard-host", self.dashboard_host, "--dashboard-port", str(self.dashboard_port)),
            *(("--autoscaling-config", str(self.autoscaling_config)) if self.autoscaling_config else ()),
        )


class RayWorker(RayNode):
    """A Ray node that joins a head and offers its CPUs and GPUs."""

    kind: ClassVar[str] = "ray-worker"

    address: str = Field(pattern=r"^[^\s:]+:\d+$", description="HOST:PORT of the head")

    def program(self) -> list[str]:
        """`ray start --address --block`."""
        return self._start("--address", self.address)


class Mlflow(Service):
    """The MLflow tracking server; artifacts go through it, so that clients need no other credential."""

    kind: ClassVar[str] = "mlflow"

    store: str = Field(
        pattern=r"^(sqlite|postgresql\+psycopg2)://",
        description="sqlite:// or postgresql+psycopg2:// address, without a password",
    )
    artifacts: str = Field(description="folder or s3:// address of the artifacts")
    allowed_hosts: str = Field(description="comma-separated Host headers that are answered")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(5000, description="port to listen on")
    workers: int = Field(1, ge=1, le=64, description="server processes")
    auth: Literal["basic", "none"] = Field("basic", description="none is for a loopback server of one user")
    auth_config: Path | None = Field(None, description="MLflow's authentication settings, mode 0600 (auth basic)")
    session_key_file: Path | None = Field(None, description="file with the key that signs sessions (auth basic)")
    s3_endpoint: str | None = Field(
        None, pattern=r"^https?://", description="address of the object store of s3:// artifacts, if it is not AWS"
    )
    s3_credentials_file: Path | None = Field(None, description="file with its keys, in AWS's form, mode 0600")

    @field_validator("store")
    @classmethod
    def _no_password(cls, store: str) -> str:
        if urlsplit(store).password:
            raise ValueError("a password does not belong into an address; give a file: ?passfile=PATH")
        return store

    def program(self) -> list[str]:
        """`mlflow server`."""
        options = {
            "--host": self.host,
            "--port": str(self.port),
            "--workers": str(self.workers),
            "--backend-store-uri": self.store,
            "--artifacts-destination": self.artifacts,
            "--allowed-hosts": self.allowed_hosts,
            "--cors-allowed-origins": ",".join("http://" + host for host in self.allowed_hosts.split(",")),
        }
        given = [part for pair in options.items() for part in pair]
        app = ["--app-name", "basic-auth"] if self.auth == "basic" else []
        return [sys.executable, "-m", "mlflow", "server", *given, *app]

    def environment(self) -> dict[str, str]:
        """No telemetry and no job runners, which nobody here uses."""
        given = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        given |= {"MLFLOW_AUTH_CONFIG_PATH": str(self.auth_config)} if self.auth_config else {}
        if self.s3_endpoint and self.s3_credentials_file:
            given |= object_store.client_environment(self.s3_endpoint, self.s3_credentials_file)
        return given | ({"TMPDIR": str(self.folder)} if self.folder else {})

    def secrets(self) -> dict[str, Path]:
        """The key that signs sessions: MLflow reads it from the environment only."""
        return {"MLFLOW_FLASK_SERVER_SECRET_KEY": self.session_key_file} if self.session_key_file else {}

    def prepare(self) -> None:
        """Make the bucket of the artifacts."""
        parts = urlsplit(self.artifacts)
        if parts.scheme == "s3" and self.s3_endpoint and self.s3_credentials_file:
            object_store.make_bucket(self.s3_endpoint, parts.netloc, self.s3_credentials_file)

    @property
    def health_url(self) -> str:
        """MLflow's own."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://{host}:{self.port}/health"


SERVICES: dict[str, type[Service]] = {kind.kind: kind for kind in (RayHead, RayWorker, Mlflow)}
