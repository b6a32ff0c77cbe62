"""Checkpoints: the state of a stack's training after an epoch, as tensors (safetensors) and a document (JSON).

The document is written last and holds the digest of both, so a checkpoint is there as a whole or not at all. One
that can not be used, torn, of another stack or of a newer version, is as good as none: training begins earlier.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import storage
from sweeps.errors import StorageUnreachable

if TYPE_CHECKING:
    from sweeps.layout import Stack
    from sweeps.training_state import State

FORMAT = 1
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A stack of a trial after an epoch.

    Attributes:
        trial_id: The trial that was trained.
        stack: Digest of its stack, members' names apart.
        epoch: Epochs done.
        state: Of the training.
        histories: Rows of each member so far, in the order of the stack.
        started: When the trial first started, in milliseconds since 1970.
        written: When this was written.
        away_seconds: Of the time since `started`, in which nobody trained it.
        resumed_at: Epochs at which a process went on where another had ended.
        forked_from: Trial and epoch it began from; None when it began from scratch.
    """

    trial_id: str
    stack: str
    epoch: int
    state: State
    histories: list[list[dict[str, Any]]]
    started: int
    written: int
    away_seconds: float = 0.0
    resumed_at: tuple[int, ...] = ()
    forked_from: Mapping[str, Any] | None = None


def digest_of(stack: Stack) -> str:
    """What two trials' stacks have in common that can share a state: seeds, threads, device, type.

    Not the members' names; whether they are computed as one is a matter of the state, which says so itself. Nor
    the trials they are computed beside: a state is of one trial, and its twin's serves it packed or not.
    """
    return _digest_of(replace(stack, members=(), together=None, pack=()))


@functools.lru_cache(maxsize=1024)
def _digest_of(stack: Stack) -> str:
    about = {name: value for name, value in asdict(stack).items() if name != "pack"}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into its stack's folder.

    Raises:
        OSError: It can not be written; what was there before still is.
    """
    from safetensors.torch import save

    tensors = save(checkpoint.state.tensors)
    content = {name: value for name, value in vars(checkpoint).items() if name != "state"}
    # The file sorts its tensors; sums over them go in the order they had.
    content |= {"document": checkpoint.state.document, "names": list(checkpoint.state.tensors)}
    content["tensors"] = hashlib.sha256(tensors).hexdigest()
    storage.write_atomically(_tensors(folder, checkpoint.epoch), tensors)
    # Not `write_json`: numbers that are not finite have to come back as they were.
    plain = {"format": FORMAT, "digest": _digest(content), "content": content}
    storage.write_atomically(_document(folder, checkpoint.epoch), json.dumps(plain))


def read(folder: Path, epoch: int, *, stack: str, trial_id: str | None = None) -> Checkpoint | None:
    """Read a checkpoint; None, and a line in the log, when there is no usable one.

    Args:
        folder: Of the stack.
        epoch: After which it was written.
        stack: Digest of the stack it must be of.
        trial_id: The trial it must be of; None when any that was the same up to there will do.

    Raises:
        StorageUnreachable: There may be one that can not be had now.
    """
    try:
        return _read(folder, epoch, stack, trial_id)
    except StorageUnreachable:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is left aside: %s", _document(folder, epoch), error or type(error).__name__)
        return None


def _read(folder: Path, epoch: int, stack: str, trial_id: str | None) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load

    from sweeps.training_state import State

    plain = json.loads(_document(folder, epoch).read_bytes())
    if plain["format"] != FORMAT:
        raise ValueError(f"it has format {plain['format']}, this version reads {FORMAT}")
    content = dict(plain["content"])
    if plain["digest"] != _digest(content):
        raise ValueError("it is damaged")
    tensors = storage.at_hand(_tensors(folder, epoch)).read_bytes()
    if content.pop("tensors") != hashlib.sha256(tensors).hexdigest():
        raise ValueError(f"{_tensors(folder, epoch).name} is damaged")
    try:
        loaded = load(tensors)
        state = State({name: loaded[name] for name in content.pop("names")}, content.pop("document"))
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    found = Checkpoint(**{**content, "state": state, "resumed_at": tuple(content["resumed_at"])})
    if found.stack != stack or found.epoch != epoch or (trial_id is not None and found.trial_id != trial_id):
        raise ValueError(f"it is of trial {found.trial_id}, stack {found.stack}, epoch {found.epoch}")
    return found


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def epochs(folder: Path) -> list[int]:
    """Epochs of a stack's checkpoints, latest first."""
    found = (path.stem.removeprefix("epoch-") for path in folder.glob("epoch-*.json"))
    return sorted((int(epoch) for epoch in found if epoch.isdecimal()), reverse=True)


def remove_before(folder: Path, epoch: int) -> None:
    """Delete a stack's checkpoints of earlier epochs."""
    for older in epochs(folder):
        if older < epoch:
            storage.remove(_document(folder, older))  # first: without it the tensors mean nothing
            storage.remove(_tensors(folder, older))


def _document(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch}.json"


def _tensors(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch}.safetensors"
