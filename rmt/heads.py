"""Which layers of a module give its output."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from torch import nn
from torch.nn.modules.conv import _ConvNd

from rmt.errors import InvalidOption
from rmt.layers import LowRankConv2d, LowRankLinear

LINEAR = (nn.Linear, LowRankLinear)
OUTPUTS = (*LINEAR, _ConvNd, LowRankConv2d)
AUXILIARY = "aux"
"""How torchvision and others begin the names of classifiers that only training looks at."""


def output_layers(module: nn.Module) -> set[str]:
    """Names of the layers that give the output, told from names and the order of registration.

    The last linear layer, and a convolution that is registered after it: only the forward pass knows which of the
    two it is. The same within each submodule whose name begins with `aux`.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name, part in module.named_modules(remove_duplicate=False):
        if isinstance(part, OUTPUTS):
            groups[_auxiliary(name)].append(name)
    return {name for names in groups.values() for name in _last(module, names)}


def check_heads(heads: Sequence[str], known: Iterable[str]) -> None:
    """Refuse names that are no layers: a slip would cut the very layer that was to be protected.

    Raises:
        InvalidOption: A name is unknown; the message lists those that are known.
    """
    names = list(known)
    unknown = [name for name in heads if name not in names]
    if unknown:
        raise InvalidOption(
            f"heads: {', '.join(map(repr, unknown))} is no layer; known: {', '.join(names) or 'none'}"
        )


def _auxiliary(name: str) -> str:
    """The dotted name up to its first part that begins with `aux`; empty when none does."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part.lower().startswith(AUXILIARY):
            return ".".join(parts[: index + 1])
    return ""


def _last(module: nn.Module, names: Sequence[str]) -> set[str]:
    linear = [name for name in names if isinstance(module.get_submodule(name), LINEAR)]
    return {names[-1], *linear[-1:]}
