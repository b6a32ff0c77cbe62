"""Weights from files, without running anything that a file may contain."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from rmt.errors import RmtError

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")


class UnreadableCheckpoint(RmtError, ValueError):
    """A file that holds no state dict, or more than one may load from a stranger."""


def load_state(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name: a `.safetensors` file, or a state dict saved by `torch.save`.

    A state dict inside a training checkpoint is found under its usual names. Nothing is unpickled but tensors and
    plain containers.

    Raises:
        FileNotFoundError: No such file.
        UnreadableCheckpoint: Another format, a pickled object, or nothing with tensors in it.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}")
    state = _load(file)
    for wrapper in WRAPPERS:
        inner = state.get(wrapper) if isinstance(state, Mapping) else None
        if isinstance(inner, Mapping):
            state = inner
            break
    tensors = (
        {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
        if isinstance(state, Mapping)
        else {}
    )
    if not tensors:
        raise UnreadableCheckpoint(f"{file} holds a {type(state).__name__} without tensors, not a state dict")
    return tensors


def _load(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnreadableCheckpoint(
            f"{file} is no state dict of tensors (it may hold a whole pickled module, which is not loaded); "
            "save `module.state_dict()` instead"
        ) from error
    except OSError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise UnreadableCheckpoint(f"{file} can not be read as a checkpoint ({what})") from error
