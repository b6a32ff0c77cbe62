"""What a network does not use: units that never fire, classes it never names."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from rmt.measures.contract import MEASURES, ModuleSubject, Number

RECTIFIERS = {functional.relu, functional.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
BATCH_SIZE = 1000


class _Rectifiers(TorchFunctionMode):
    """Notes which units of each rectifier call, module or function, have been positive for any sample."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[Tensor] = []
        self.call = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in RECTIFIERS:
            # (samples, units, *positions): a channel is one unit; of token vectors the last dimension is the unit.
            units = result.movedim(-1, 1) if result.ndim == 3 else result
            self._note((units > 0).transpose(0, 1).flatten(1).any(1))
        return result

    def _note(self, active: Tensor) -> None:
        if self.call == len(self.active):
            self.active.append(active)
        else:
            self.active[self.call] = self.active[self.call] | active
        self.call += 1


@MEASURES.register(of="module", needs=("inputs",), least=0)
def dead_units(subject: ModuleSubject) -> Number:
    """Rectified units (channels of convolutions) that no sample makes positive."""
    if subject.inputs is None:
        return None
    module = copy.deepcopy(subject.module).eval()
    watch = _Rectifiers()
    with torch.no_grad(), watch:
        for batch in subject.inputs.split(BATCH_SIZE):
            watch.call = 0
            module(batch)
    return float(sum(int((~active).sum()) for active in watch.active))


@MEASURES.register(of="module", needs=("inputs",), least=0)
def classes_never_predicted(subject: ModuleSubject) -> Number:
    """Classes that are the largest logit of no sample."""
    if subject.inputs is None:
        return None
    module = copy.deepcopy(subject.module).eval()
    with torch.no_grad():
        logits = torch.cat([module(batch) for batch in subject.inputs.split(BATCH_SIZE)])
    return float(logits.shape[1] - len(logits.argmax(1).unique()))
