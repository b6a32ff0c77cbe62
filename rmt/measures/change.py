"""Measures of a cut: the network against itself before."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Interval
from torch import Tensor, nn

from rmt import landscape
from rmt.certify import certify as certify_cut
from rmt.dense import dense_copy
from rmt.errors import InvalidOption
from rmt.measures.contract import MEASURES, ModuleSubject, Number
from rmt.propagation_rules import CONVOLUTIONS

NEEDS = ("inputs", "labels", "before")
KINDS = (nn.Linear, *CONVOLUTIONS)
NonNegative = Annotated[float, Ge(0)]


def _before(subject: ModuleSubject) -> nn.Module:
    if subject.before is None:
        raise InvalidOption("this measure needs the network before the cut")
    return subject.before


def removed_parts(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """R = W_before − W_after of every linear and convolution layer whose matrix has changed."""
    dense, cut = dense_copy(before), dense_copy(after)
    parts = {}
    for name, layer in dense.named_modules():
        other = cut.get_submodule(name) if isinstance(layer, KINDS) else None
        if isinstance(layer, KINDS) and isinstance(other, KINDS):
            difference = layer.weight.detach() - other.weight.detach()
            if difference.any():
                parts[name] = difference
    return parts


@MEASURES.register(of="module", needs=NEEDS)
def certify(
    subject: ModuleSubject,
    *,
    l1: NonNegative = 0.0,
    l2: NonNegative = 0.0,
    failure_probability: Annotated[float, Interval(gt=0, lt=1)] = 0.05,
) -> dict[str, Number]:
    """Certified shares and bounds of cutting every changed layer, for the labels of the network before."""
    parts = removed_parts(_before(subject), subject.module)
    if not parts:
        return {}
    found = certify_cut(
        _before(subject),
        list(parts),
        list(parts.values()),
        subject.data,
        l1=l1,
        l2=l2,
        failure_probability=failure_probability,
    )
    return {**found.numbers()}


@MEASURES.register(of="module", needs=NEEDS, least=0)
def barrier_to_before(subject: ModuleSubject, *, points: Annotated[int, Ge(3)] = 11) -> Number:
    """Height of the loss barrier on the straight line from the network before to this one."""
    return landscape.barrier(_before(subject), subject.module, subject.data, points=points).height
