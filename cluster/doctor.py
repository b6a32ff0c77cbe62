"""`python -m cluster doctor`: is this cluster closed, whole and ready, and if not, what to do about it."""

import configparser
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from cluster import probe, processes
from cluster.client import Client
from cluster.credentials import read_secret
from cluster.errors import BadOption, WaitTimedOut
from cluster.examine import PACKAGES, Examined, parse
from cluster.job import JobFailed, run_job

LOOPBACK = ("127.", "localhost", "[::1]", "::1")
LEAST_DISK_BYTES = 2_000_000_000
MOST_CLOCK_SECONDS = 1.0  # records order events of different nodes by their clocks
EXAMINE_SECONDS = 240.0


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether all is well, what was seen, and what to do if not."""

    check: str
    well: bool
    seen: str
    advice: str = ""


def examine_cluster(client: Client, storage: str | None = None) -> list[Finding]:
    """All checks; those that need a node's word run as one job on the cluster.

    Args:
        client: How the cluster is reached.
        storage: A sweep's storage that every node must be able to write; None leaves that out.
    """
    findings = [*_token(client), *_listening(client), *_mlflow(client)]
    if not all(finding.well for finding in findings if finding.check in ("token file", "ray answers")):
        return findings
    return findings + _nodes(client, storage)


def render(findings: list[Finding]) -> str:
    """One line a finding, and one more with the advice where something is not well."""
    lines = []
    for finding in findings:
        lines.append(f"{'ok  ' if finding.well else 'BAD '} {finding.check}: {finding.seen}")
        if not finding.well:
            lines.append(f"     -> {finding.advice}")
    return "\n".join(lines)


def _token(client: Client) -> Iterator[Finding]:
    url = f"{client.dashboard}/api/version"
    try:
        read_secret(client.token_file)
    except BadOption as error:
        yield Finding("token file", False, str(error), f"chmod 600 {client.token_file}, or python -m cluster init")
        return
    yield Finding("token file", True, f"{client.token_file}, its owner's only")
    status, text = probe.get(url, headers=client.token_headers)
    yield Finding(
        "ray answers",
        status == 200,
        f"Ray {json.loads(text)['ray_version']} at {client.dashboard}"
        if status == 200
        else f"{status} {text[:200]}",
        "is the head up (python -m cluster status) and is this its token?",
    )
    bare = probe.get(url)[0]
    yield Finding(
        "token authentication",
        bare == 401,
        f"a request without the token is answered {bare}",
        "anyone who reaches this port can run code: start every node with RAY_AUTH_MODE=token",
    )


def _listening(client: Client) -> Iterator[Finding]:
    for name, address in {"dashboard": client.dashboard, "mlflow": client.mlflow_uri}.items():
        parts = urlsplit(address or "")
        if not address or parts.scheme == "https":
            continue
        host = parts.hostname or ""
        yield Finding(
            f"{name} address",
            host.startswith(LOOPBACK),
            address,
            "credentials travel in the clear: reach it through an SSH tunnel, or put TLS in front (SECURITY.md)",
        )
        if client.services:
            bound = processes.listening(client.services).get(parts.port or 80, set())
            yield Finding(
                f"{name} listens",
                bool(bound) and all(each.startswith(LOOPBACK) for each in bound),
                f"on {', '.join(sorted(bound)) or 'nothing'}, port {parts.port}",
                "whoever reaches this machine reaches it: serve it on 127.0.0.1 (--host, --dashboard-host)",
            )


def _mlflow(client: Client) -> Iterator[Finding]:
    if client.mlflow_uri is None:
        yield Finding("mlflow", True, "no address given (MLFLOW_TRACKING_URI): records alone are kept")
        return
    url = f"{client.mlflow_uri}/api/2.0/mlflow/experiments/search?max_results=1"
    bare = probe.get(url)[0]
    yield Finding(
        "mlflow authentication",
        bare == 401,
        f"a request without a password is answered {bare or 'by nobody'}",
        "start it with `python -m cluster serve mlflow --auth basic ...`",
    )
    status, text = probe.get(url, headers=client.mlflow_headers)
    yield Finding(
        "mlflow database",
        status == 200,
        "answers a search, so it is reachable and migrated"
        if status == 200
        else f"{status or 'no answer'} {text[:200]}",
        "look into MLflow's log; after an upgrade: mlflow db upgrade ADDRESS",
    )
    if client.auth_settings is None:
        seen = "not seen from here: mlflow_auth.ini on the machine that serves it says it"
        yield Finding("mlflow default permission", True, seen)
    else:
        settings = configparser.ConfigParser()
        settings.read(client.auth_settings)
        permission = settings.get("mlflow", "default_permission", fallback="not set")
        yield Finding(
            "mlflow default permission",
            permission == "NO_PERMISSIONS",
            permission,
            f"set default_permission = NO_PERMISSIONS in {client.auth_settings} and start MLflow again",
        )


def _nodes(client: Client, storage: str | None) -> list[Finding]:
    entrypoint = "python -m cluster examine" + (f" --storage {shlex.quote(storage)}" if storage else "")
    try:
        found = parse(run_job(client, entrypoint, timeout=EXAMINE_SECONDS).log)
    except (JobFailed, WaitTimedOut) as error:
        return [Finding("nodes", False, str(error), "is this package installed on the head, and a worker free?")]
    alive = client.alive_nodes()
    return [
        Finding(
            "nodes", len(found) == len(alive), f"{len(found)} of {len(alive)} answered", "look into Ray's logs"
        ),
        *(finding for node in found for finding in _node(node, storage)),
        *_versions(found),
    ]


def _node(node: Examined, storage: str | None) -> Iterator[Finding]:
    name = node.address
    if storage:
        seen = node.storage_error or f"wrote and read a file in {storage}"
        advice = "every node must reach the same storage: a shared folder or s3://"
        yield Finding(f"{name} storage", node.storage_error is None, seen, advice)
    ahead, about = node.clock_ahead_seconds, node.clock_uncertainty_seconds
    yield Finding(
        f"{name} clock",
        abs(ahead) <= MOST_CLOCK_SECONDS + about,
        f"{ahead:+.3f} s of the head's, give or take {about:.3f} s",
        "synchronise the clocks (chrony, systemd-timesyncd)",
    )
    free = node.disk_free_bytes
    yield Finding(
        f"{name} disk", free >= LEAST_DISK_BYTES, f"{free / 1e9:.1f} GB free", "make room: Ray spills there"
    )
    yield Finding(
        f"{name} GPUs",
        node.ray_gpus <= node.torch_gpus,
        f"{node.ray_gpus:g} offered by Ray, {node.torch_gpus} seen by torch",
        "install a torch with CUDA for this driver, or start the node with --gpus 0",
    )


def _versions(found: list[Examined]) -> Iterator[Finding]:
    for package in PACKAGES:
        versions = {node.versions[package] for node in found}
        seen = ", ".join(sorted(str(each) for each in versions))
        yield Finding(f"{package} version", len(versions) == 1, seen, "install the same version on every node")
