"""What only a node itself can tell: whether it can write the storage, its clock, disk and GPUs.

`python -m cluster examine` is a Ray driver that asks every node and prints one line of JSON a node, behind a mark
that tells the lines from the rest of a job's log. `cluster.doctor` starts it as a job and reads them.
"""

import contextlib
import json
import logging
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow.fs

MARK = "examined: "
PACKAGES = ("ray", "mlflow", "torch", "rmt-sweeps")
ANSWER_SECONDS = 90.0


@dataclass(frozen=True)
class Examined:
    """One node's answers; `storage_error` is None when it wrote, read and removed a file there."""

    node_id: str
    address: str
    clock_ahead_seconds: float  # of the driver's node, at best half the round trip off
    clock_uncertainty_seconds: float
    disk_free_bytes: int
    storage_error: str | None
    ray_gpus: float
    torch_gpus: int
    versions: dict[str, str | None]


def examine_all(storage: str | None) -> list[Examined]:
    """Ask every node that is alive; run on a node of the cluster."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(logging_level=logging.ERROR, log_to_driver=False)
    here = ray.remote(num_cpus=0)(examine_here)
    found = []
    with contextlib.ExitStack() as stack:
        shared = _shared(stack, storage)
        for node in [node for node in ray.nodes() if node["Alive"]]:
            there = here.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            ray.get(there.remote(None, ""), timeout=ANSWER_SECONDS)  # a warm worker: its start is no travel time
            sent = time.time()
            answer = ray.get(there.remote(storage, shared), timeout=ANSWER_SECONDS)
            found.append(_examined(node, answer, sent, time.time()))
    ray.shutdown()
    return found


def examine_here(storage: str | None, shared: str) -> dict[str, Any]:
    """This node's own answers; the clock is read first, and when all is done."""
    now = time.time()
    return {
        "now": now,
        "disk_free_bytes": shutil.disk_usage(tempfile.gettempdir()).free,
        "storage_error": try_storage(storage, shared) if storage else None,
        "torch_gpus": _torch_gpus(),
        "versions": {name: _version(name) for name in PACKAGES},
        "done": time.time(),
    }


@contextlib.contextmanager
def shared_file(storage: str) -> Iterator[str]:
    """A file in the storage for the length of a `with`: every node that has the same storage sees it."""
    system, root = _open(storage)
    name = f".doctor-{uuid.uuid4().hex}"
    with system.open_output_stream(f"{root}/{name}") as file:
        file.write(b"shared")
    try:
        yield name
    finally:
        system.delete_file(f"{root}/{name}")


def try_storage(storage: str, shared: str) -> str | None:
    """Write, read and remove a file under a storage address, and look for the one that another node put there.

    Args:
        storage: A folder, or what pyarrow knows: `s3://bucket/prefix`.
        shared: The name of another node's file.

    Returns:
        None when all went well, else what went wrong.
    """
    from pyarrow.fs import FileType

    content = uuid.uuid4().hex.encode()
    try:
        system, root = _open(storage)
        name = f"{root}/.doctor-{content.decode()}"
        with system.open_output_stream(name) as file:
            file.write(content)
        with system.open_input_stream(name) as file:
            same = file.read() == content
        system.delete_file(name)
        there = system.get_file_info(f"{root}/{shared}").type == FileType.File
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    if not same:
        return "what was read is not what was written"
    return None if there else "writable, but not the same storage as the head's: its file is not here"


def render(found: list[Examined]) -> str:
    """The lines that `parse` reads."""
    return "\n".join(MARK + json.dumps(asdict(each)) for each in found)


def parse(log: str) -> list[Examined]:
    """The answers in a job's log."""
    lines = [line.removeprefix(MARK) for line in log.splitlines() if line.startswith(MARK)]
    return [Examined(**json.loads(line)) for line in lines]


def _shared(stack: contextlib.ExitStack, storage: str | None) -> str:
    """The name of a file in the storage; none if this node can not write it, which it then says itself."""
    if storage is None:
        return ""
    try:
        return stack.enter_context(shared_file(storage))
    except (OSError, ValueError):
        return ""


def _open(storage: str) -> tuple["pyarrow.fs.FileSystem", str]:
    import pyarrow.fs

    system, root = pyarrow.fs.FileSystem.from_uri(storage if "://" in storage else str(Path(storage).absolute()))
    if "://" not in storage or "allow_bucket_creation=true" in storage:
        system.create_dir(root, recursive=True)
    return system, root


def _examined(node: dict[str, Any], answer: dict[str, Any], sent: float, received: float) -> Examined:
    travel = (received - sent) - (answer["done"] - answer["now"])
    return Examined(
        node_id=node["NodeID"],
        address=node["NodeManagerAddress"],
        clock_ahead_seconds=answer["now"] - (sent + travel / 2),
        clock_uncertainty_seconds=travel / 2,
        disk_free_bytes=answer["disk_free_bytes"],
        storage_error=answer["storage_error"],
        ray_gpus=float(node["Resources"].get("GPU", 0)),
        torch_gpus=answer["torch_gpus"],
        versions=answer["versions"],
    )


def _torch_gpus() -> int:
    import torch

    return int(torch.cuda.device_count())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
