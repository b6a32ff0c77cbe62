"""A Ray to run on: the cluster at an address, or one started here and ended again, always with a token.

Ray listens on all interfaces whatever it is told, so a Ray without token authentication runs anybody's code.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweeps.errors import SweepError
from sweeps.spec_means import Resources

ANSWER_SECONDS = 10.0


class ClusterUnreachable(SweepError, ConnectionError):
    """A Ray address that does not answer or refuses."""


class ClusterTooSmall(SweepError, ValueError):
    """A trial wants more than any node has."""


@contextmanager
def session(address: str | None = None, *, cpus: float | None = None) -> Iterator[Path]:
    """Connect to the Ray at `address` (or `RAY_ADDRESS`), or start one on this machine for the while.

    Yields:
        A scratch folder that is deleted afterwards.

    Raises:
        ClusterUnreachable: The address does not answer, or refuses the token.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    # Under /tmp if there is one: paths of Unix sockets are limited to 107 characters, TMPDIR may be long.
    parent = "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes it private
    scratch = Path(tempfile.mkdtemp(prefix="rmt-", dir=parent))
    _quieten()
    try:
        if address:
            _connect(address)
        else:
            _start(scratch, cpus)
        yield scratch
    finally:
        import ray

        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)


def require(resources: Resources) -> None:
    """Refuse what no node of the connected Ray has: Ray would wait for such a node forever, and say nothing.

    Raises:
        ClusterTooSmall: Names the field, the value and what the largest node has.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for field, name, wanted in (("cpus", "CPU", resources.cpus), ("gpus", "GPU", resources.gpus)):
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > most:
            raise ClusterTooSmall(
                f"resources.{field}: a trial wants {wanted:g}, the largest of {len(nodes)} nodes has {most:g}; "
                f"allowed: up to {most:g}, or bring up a larger node first"
            )


def _quieten() -> None:
    """Settings Ray and Tune read from the environment only; what a person has set stays."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_TRAIN_V2_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        # Actors are kept for the next trial only while one is staged; a searcher stages a single one by default.
        "TUNE_MAX_PENDING_TRIALS_PG": "16",
        # Our own records are the state; Tune's snapshots would cost time on every trial of a large sweep.
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }.items():
        os.environ.setdefault(name, value)


def _start(scratch: Path, cpus: float | None) -> None:
    _require_token()
    import ray

    if ray.is_initialized():
        raise SweepError("this process has a Ray already; pass its address, or call ray.shutdown() first")
    ray.init(address="local", num_cpus=None if cpus is None else round(cpus), _temp_dir=str(scratch), **_QUIET)


_QUIET: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}


def _require_token() -> None:
    """Switch token authentication on for the Ray to be started, with a token of this process's own.

    A process keeps its token from one session to the next, since Ray reads it once.
    """
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if "RAY_AUTH_TOKEN" not in os.environ and not (given and Path(given).is_file()):
        folder = Path(tempfile.mkdtemp(prefix="rmt-token-"))  # only its owner can enter
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")
        (folder / "token").write_text(secrets.token_hex(32))
    if os.environ.get("RAY_AUTH_MODE") != "token":
        os.environ["RAY_AUTH_MODE"] = "token"
        if "ray" in sys.modules:
            import ray._raylet as raylet  # it read the environment at import, which is over

            vars(raylet)["Config"].initialize("")


def require_answer(address: str | None = None) -> None:
    """Refuse an address, the given one or `RAY_ADDRESS`, where nobody listens or this token is not taken.

    Ray itself would try for minutes, and say of a token nothing but that it failed.

    Raises:
        ClusterUnreachable: Says what was tried and what to do.
    """
    address = address or os.environ.get("RAY_ADDRESS") or ""
    if address.startswith(("http://", "https://")):
        raise ClusterUnreachable(
            f"address: {address!r} takes jobs (sweeps submit SPEC --address {address}); a driver here wants "
            "HOST:PORT of the cluster's head, 6379 by default"
        )
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterUnreachable(_unreachable(address, f"nobody answers ({error})")) from None
    _require_token_taken(address)


def _require_token_taken(address: str) -> None:
    _quieten()
    import grpc
    from ray._private.grpc_utils import init_grpc_channel  # with this process's token and certificates
    from ray.exceptions import AuthenticationError

    channel = init_grpc_channel(address)
    try:
        channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")(b"", timeout=ANSWER_SECONDS)
    except AuthenticationError as error:  # none is given
        raise ClusterUnreachable(_unreachable(address, _first_line(error))) from None
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            raise ClusterUnreachable(
                f"the Ray at {address!r} refuses: {error.details()}; give it its token (RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN_PATH, or RAY_AUTH_TOKEN; for a cluster of this project, python -m cluster env)"
            ) from None
    finally:
        channel.close()


def _unreachable(address: str, why: str) -> str:
    return (
        f"no Ray at {address!r}: {why}; check the address (--address, RAY_ADDRESS), that the cluster is up "
        "(python -m cluster status), its token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH) and that it has this "
        f"version of Ray, {version('ray')}"
    )


def _connect(address: str) -> None:
    require_answer(address)
    import ray
    from ray.exceptions import AuthenticationError, RaySystemError

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, AuthenticationError, RaySystemError) as error:
        raise ClusterUnreachable(_unreachable(address, _first_line(error))) from None


def _first_line(error: BaseException) -> str:
    if "Version mismatch" in str(error):
        return " ".join(str(error).split())  # which versions they are is in the others
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
