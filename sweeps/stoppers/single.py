"""Stoppers that look at one trial by itself."""

from __future__ import annotations

import math
from typing import Annotated

from annotated_types import Ge

from sweeps.stoppers.contract import STOPPERS, Epochs, Look


@STOPPERS.register(version=1)
def plateau(
    look: Look, *, patience: Epochs = 5, min_gain: Annotated[float, Ge(0)] = 0.0, grace: Epochs = 1
) -> str | None:
    """Stop a trial that has not gained more than `min_gain` over its best for `patience` epochs.

    The first `grace` epochs are let pass.
    """
    best, since = -math.inf, 0
    for epoch, score in enumerate(look.curve.scores, start=1):
        if score > best + min_gain:
            best, since = score, epoch
    if look.epoch < grace or look.epoch - since < patience:
        return None
    stood = f"{look.said(best)} at epoch {since}" if since else "no finite value"
    return f"no gain of more than {min_gain:g} for {patience} epochs over {stood}"


@STOPPERS.register(version=1, success=True)
def target(look: Look, *, value: float, grace: Epochs = 1) -> str | None:
    """Stop a trial that has reached `value`, which is all that was asked of it."""
    if look.epoch < grace or look.score < look.sign * value:
        return None
    return f"{look.said(look.score)} at epoch {look.epoch} has reached the target {value:g}"
