"""Why the weight of a layer is left alone: it is computed from others, has no values, or is no real matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from rmt.layers import LowRankConv2d, LowRankLinear

READABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def why_left(part: nn.Module) -> str:
    """Why the weight of a layer of a known kind is no matrix that can be read and written; empty if it is."""
    if is_parametrized(part):
        return "its weight is computed from others (parametrised)"
    return next((reason for name in _sources(part) if (reason := _why_unreadable(part, name))), "")


def why_no_matrix(weight: Tensor) -> str:
    """Why a tensor has no spectrum, whatever its entries; empty if it has."""
    if is_lazy(weight):
        return "its weight has no values yet: call the network once first"
    if weight.dtype not in READABLE or weight.layout != torch.strided:
        return f"its weight is of type {weight.dtype}, {weight.layout}; a real floating-point matrix is needed"
    return f"its weight has shape {tuple(weight.shape)}: it is empty" if 0 in weight.shape else ""


def _sources(part: nn.Module) -> tuple[str, ...]:
    """Names of the parameters that hold a layer's matrices."""
    match part:
        case LowRankLinear() | LowRankConv2d():
            return "left", "right"
        case nn.Linear() | nn.Embedding() | nn.Conv1d() | nn.Conv2d():
            return ("weight",)
        case nn.MultiheadAttention():
            stacked = getattr(part, "in_proj_weight", None) is not None
            return ("in_proj_weight",) if stacked else tuple(f"{letter}_proj_weight" for letter in "qkv")
    return ()


def _why_unreadable(part: nn.Module, name: str) -> str:
    parameter = part._parameters.get(name)
    if parameter is None:
        others = ", ".join(key for key, _ in part.named_parameters(recurse=False)) or "nothing"
        return f"its {name} is no parameter but computed from others; its parameters: {others}"
    return why_no_matrix(parameter)
