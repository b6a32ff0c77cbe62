"""The state of a training between two epochs: tensors for safetensors, the rest for JSON.

What is random comes from generators made anew from a seed, a purpose and the epoch's number, so a state holds no
generator. Stacks are kept as they are, padding and frozen places included: a training continues in the same layout
and so to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sweeps.stack import Stack, Tensors
from sweeps.training_pruning import Spectra

PARTS = ("values", "masks", "buffers")


class State(NamedTuple):
    """Everything a training needs to continue.

    Attributes:
        tensors: On the CPU, by names with slashes.
        document: Plain values.
    """

    tensors: dict[str, Tensor]
    document: dict[str, Any]


def pack_stack(stack: Stack, prefix: str) -> State:
    """A stack's tensors under `prefix`, and what else there is to know of it."""
    tensors: Tensors = {}
    for part in PARTS:
        tensors |= {f"{prefix}/{part}/{name}": _keep(tensor) for name, tensor in getattr(stack, part).items()}
    for slot, some in stack.slots.items():
        tensors |= {f"{prefix}/slots/{slot}/{name}": _keep(tensor) for name, tensor in some.items()}
    about = {
        "members": list(stack.members),
        "ranks": [dict(ranks) for ranks in stack.ranks],
        "frozen": sorted(stack.frozen),
        "slots": list(stack.slots),
    }
    return State(tensors, about)


def unpack_stack(state: State, prefix: str, about: Mapping[str, Any], device: torch.device) -> Stack:
    """Inverse of `pack_stack`, on `device`."""

    def part(name: str) -> Tensors:
        return {key: tensor.to(device, copy=True) for key, tensor in _under(state.tensors, f"{prefix}/{name}/")}

    return Stack(
        tuple(about["members"]),
        part("values"),
        {slot: part(f"slots/{slot}") for slot in about["slots"]},
        part("masks"),
        part("buffers"),
        [dict(ranks) for ranks in about["ranks"]],
        set(about["frozen"]),
    )


def pack_spectra(spectra: Spectra, prefix: str) -> State:
    """A replicate's spectra so far."""
    tensors = {f"{prefix}/{key}": torch.from_numpy(values.copy()) for key, values in spectra.values.items()}
    return State(tensors, {"fits": [dict(row) for row in spectra.fits]})


def unpack_spectra(state: State, prefix: str, about: Mapping[str, Any]) -> Spectra:
    """Inverse of `pack_spectra`."""
    values = {key: tensor.numpy().copy() for key, tensor in _under(state.tensors, f"{prefix}/")}
    return Spectra(values, [dict(row) for row in about["fits"]])


def pack_cut(weights: tuple[Mapping[str, Tensor], Mapping[str, Tensor]], prefix: str) -> Tensors:
    """A replicate's tensors before and after its last cut."""
    return {
        f"{prefix}/{when}/{name}": _keep(tensor)
        for when, some in zip(("before", "after"), weights, strict=True)
        for name, tensor in some.items()
    }


def unpack_cut(state: State, prefix: str, device: torch.device) -> tuple[Tensors, Tensors]:
    """Inverse of `pack_cut`, on `device`."""
    before, after = (
        {name: tensor.to(device, copy=True) for name, tensor in _under(state.tensors, f"{prefix}/{when}/")}
        for when in ("before", "after")
    )
    return before, after


def _under(tensors: Mapping[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), tensor


def _keep(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
