"""What is up, in one small file of the state folder: written early, removed by `down`."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cluster.errors import AlreadyUp, BadOption, ClusterError
from cluster.processes import Owned

FILE = "cluster.json"
FORMAT = 1


@dataclass(frozen=True)
class State:
    """A cluster on this machine: folder for sockets and temporary files, services, addresses."""

    folder: Path
    nodes: int
    ray_address: str
    dashboard: str
    mlflow_uri: str | None
    services: tuple[Owned, ...] = field(default=())
    tls: bool = False  # of Ray's gRPC

    def with_service(self, service: Owned) -> "State":
        """This state and one more service."""
        return replace(self, services=(*self.services, service))


def default_folder() -> Path:
    """`$RMT_CLUSTER_STATE`, else `.cluster` here."""
    return Path(os.environ.get("RMT_CLUSTER_STATE") or ".cluster")


def load(folder: Path) -> State | None:
    """The state that `save` wrote in this folder; None if there is none.

    Raises:
        ClusterError: The file is damaged or of another format.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text())
        if content.pop("format") != FORMAT:
            raise ClusterError(
                f"{path} has another format than {FORMAT}: another version of this package wrote it"
            )
        services = tuple(Owned(**{**each, "log": Path(each["log"])}) for each in content.pop("services"))
        return State(**{**content, "folder": Path(content["folder"]), "services": services})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(
            f"{path} is not a cluster's state ({error}); look at it before you remove it"
        ) from error


def save(folder: Path, state: State) -> None:
    """Write the state at once or not at all."""
    part = folder / f".{FILE}.{os.getpid()}"
    part.write_text(json.dumps({"format": FORMAT, **asdict(state)}, default=str, indent=1))
    part.rename(folder / FILE)


def forget(folder: Path) -> None:
    """Remove the state: nothing is up any more."""
    (folder / FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold this folder alone while a cluster comes up or goes down.

    Raises:
        BadOption: The folder can not be made or written.
        AlreadyUp: Another process is at it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise BadOption(
            f"state folder {folder}: {error.strerror}; give one that can be written with --state"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyUp(f"another command is at work in state folder {folder}; let it finish first") from error
        yield
