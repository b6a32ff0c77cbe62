"""A command run on a cluster through Ray's job interface: plain HTTP with the token, so any client can."""

import json
from dataclasses import dataclass

from cluster import probe
from cluster.client import Client
from cluster.errors import ClusterError

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


class JobFailed(ClusterError, RuntimeError):
    """A job was refused or did not succeed; the message has the end of its log."""


@dataclass(frozen=True)
class Job:
    """A job that ended well."""

    job_id: str
    log: str


def run_job(client: Client, entrypoint: str, *, timeout: float) -> Job:
    """Run a shell command on the cluster's head and wait for its end; raises what `submit` and `follow` do."""
    return follow(client, submit(client, entrypoint), timeout=timeout)


def submit(client: Client, entrypoint: str) -> str:
    """Start a shell command on the cluster's head; its job's id.

    Raises:
        JobFailed: It was refused.
    """
    return str(_call(client, "/api/jobs/", {"entrypoint": entrypoint})["submission_id"])


def follow(client: Client, job_id: str, *, timeout: float) -> Job:
    """Wait for a job's end.

    Raises:
        JobFailed: It failed or was stopped.
        WaitTimedOut: It did not end within `timeout` seconds.
    """

    def ended() -> str | None:
        status = str(_call(client, f"/api/jobs/{job_id}")["status"])
        return status if status in ENDED else None

    status = probe.wait_for(ended, what=f"job {job_id} ended", timeout=timeout)
    log = str(_call(client, f"/api/jobs/{job_id}/logs")["logs"])
    if status != "SUCCEEDED":
        raise JobFailed(f"job {job_id} {status.lower()}; end of its log:\n{log[-2000:]}")
    return Job(job_id, log)


def _call(client: Client, path: str, body: dict[str, str] | None = None) -> dict[str, object]:
    status, text = probe.call(client.dashboard + path, headers=client.token_headers, body=body, timeout=30)
    if status != 200:
        raise JobFailed(f"{client.dashboard}{path} answers {status or 'nothing'}: {text[:500]}")
    return dict(json.loads(text))
