"""Questions to running services over HTTP, with the standard library only: quick enough for health checks."""

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cluster.errors import WaitTimedOut

PAUSE_SECONDS = 0.1

T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """A Ray node as the cluster's state has it."""

    node_id: str
    address: str
    is_head: bool
    alive: bool
    cpus: float
    gpus: float


def get(url: str, *, headers: dict[str, str] | None = None, timeout: float = 5.0) -> tuple[int, str]:
    """Status and text of a GET; status 0 and the reason when nothing answers."""
    return call(url, headers=headers or {}, timeout=timeout)


def call(
    url: str, *, headers: dict[str, str], body: dict[str, str] | None = None, timeout: float = 5.0
) -> tuple[int, str]:
    """Status and text of a GET, or of a POST of a JSON body; status 0 and the reason when nothing answers."""
    data = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, data=data, headers=headers | kind)  # noqa: S310
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            return response.status, response.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except (OSError, ValueError, http.client.HTTPException) as error:  # the last: what answers is not HTTP
        return 0, str(error)


def bearer(token: str) -> dict[str, str]:
    """Headers with Ray's token."""
    return {"Authorization": f"Bearer {token}"}


def basic(username: str, password: str) -> dict[str, str]:
    """Headers with a name and a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def is_well(url: str) -> bool:
    """Whether a health address answers 200."""
    return get(url)[0] == 200


def ray_nodes(dashboard: str, token: str) -> list[Node]:
    """The nodes of the cluster behind a dashboard address such as `http://127.0.0.1:8265`.

    Raises:
        PermissionError: The token is refused.
        ConnectionError: The dashboard does not answer, or not yet with its state.
    """
    status, text = get(f"{dashboard}/api/v0/nodes?detail=1&limit=10000", headers=bearer(token))
    if status in (401, 403):
        raise PermissionError(f"{dashboard} refuses the token: {text}")
    if status != 200:
        raise ConnectionError(f"{dashboard} answers {status}: {text[:200]}")
    rows: list[dict[str, Any]] = json.loads(text)["data"]["result"]["result"]
    return [_node(row) for row in rows]


def wait_for(question: Callable[[], T | None], *, what: str, timeout: float) -> T:
    """Ask until the answer is neither None nor False, and return it.

    Raises:
        WaitTimedOut: `timeout` seconds passed; the message names `what`.
    """
    end = time.monotonic() + timeout
    while True:
        answer = question()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > end:
            raise WaitTimedOut(f"{what}: not within {timeout:g} s")
        time.sleep(PAUSE_SECONDS)


def alive_nodes(dashboard: str, token: str) -> list[Node]:
    """The nodes that are alive; none while the dashboard does not answer.

    Raises:
        PermissionError: The token is refused.
    """
    try:
        return [node for node in ray_nodes(dashboard, token) if node.alive]
    except ConnectionError:
        return []


def _node(row: dict[str, Any]) -> Node:
    total = row.get("resources_total") or {}
    return Node(
        node_id=row["node_id"],
        address=row["node_ip"],
        is_head=bool(row.get("is_head_node")),
        alive=row["state"] == "ALIVE",
        cpus=float(total.get("CPU", 0)),
        gpus=float(total.get("GPU", 0)),
    )
