"""Asynchronous successive halving, and the same in several brackets."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Annotated

from annotated_types import Ge

from sweeps.stoppers.contract import STOPPERS, Epochs, Look

Reduction = Annotated[int, Ge(2)]


@STOPPERS.register(version=1)
def asha(look: Look, *, grace: Epochs = 1, reduction: Reduction = 3) -> str | None:
    """Successive halving: at `grace`, `grace`·`reduction`, … epochs only the best share 1/`reduction` goes on.

    The best among those that have got there so far, itself included, at least one: nobody waits for the others.

    Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, arXiv:1810.05934.
    """
    return _halve(look, look.scores_of_others(look.epoch), grace, reduction)


@STOPPERS.register(version=1)
def hyperband(look: Look, *, grace: Epochs = 1, reduction: Reduction = 3) -> str | None:
    """Successive halving in brackets whose first halving comes later and later, in case early epochs mislead.

    A trial's bracket is drawn by its name, with the shares of trials that Hyperband gives them, and it competes
    inside of it only.

    Source: Li et al., Hyperband, Journal of Machine Learning Research 18 (2018), Algorithm 1; asynchronous as in
    arXiv:1810.05934.
    """
    sizes = bracket_sizes(look.epochs, grace, reduction)
    mine = bracket(look.trial, sizes)
    rivals = [c for name, c in look.others.items() if bracket(name, sizes) == mine and len(c) >= look.epoch]
    return _halve(look, (c.scores[look.epoch - 1] for c in rivals), grace * reduction**mine, reduction)


def _halve(look: Look, rivals: Iterable[float], grace: int, reduction: int) -> str | None:
    if not _is_rung(look.epoch, grace, reduction):
        return None
    scores = sorted([*rivals, look.score], reverse=True)
    best = max(1, len(scores) // reduction)
    if look.score >= scores[best - 1] and look.score > -math.inf:
        return None
    return (
        f"{look.said(look.score)} at epoch {look.epoch} is not among the best {best} of the {len(scores)} that "
        f"got there; the last of these has {look.said(scores[best - 1])}"
    )


def _is_rung(epoch: int, grace: int, reduction: int) -> bool:
    while epoch > grace and epoch % reduction == 0:
        epoch //= reduction
    return epoch == grace


def bracket_sizes(epochs: int, grace: int, reduction: int) -> list[int]:
    """Shares of trials of the brackets, the one that halves earliest first.

    Source: Algorithm 1 of the paper: s_max = floor(log_η(R)), n = ceil((s_max + 1)/(s + 1) · η^s), with R the
    epochs over the grace period.
    """
    most = 0
    while grace * reduction ** (most + 1) <= epochs:
        most += 1
    return [math.ceil((most + 1) * reduction**s / (s + 1)) for s in range(most, -1, -1)]


def bracket(trial: str, sizes: list[int]) -> int:
    """The bracket of a trial: the same whenever and wherever it is asked for."""
    drawn = int.from_bytes(hashlib.sha256(f"bracket {trial}".encode()).digest()[:8], "big") % sum(sizes)
    for number, size in enumerate(sizes):
        if drawn < size:
            return number
        drawn -= size
    raise AssertionError("the draw lies below the sum of the sizes")
