"""What a sweep may use and how long, how often it is saved, and where its results are shown."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from sweeps.choice import Closed


class Resources(Closed):
    """What one trial may use; `stack` is the most replicates that are trained as one, by memory if `auto`.

    `gpus` below 1 is a share of one GPU, of its memory too. `pack`: how many trials of equal shapes go through one
    process together, computed as one; `auto`: several where that is measured to be faster.
    """

    cpus: Annotated[float, Gt(0)] = 1
    gpus: Annotated[float, Ge(0)] = 0
    stack: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    pack: Annotated[int, Ge(2)] | Literal["auto", "never"] = "never"

    @property
    def threads(self) -> int:
        """CPU threads of one trial."""
        return max(1, int(self.cpus))

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return "cuda" if self.gpus else "cpu"


class Checkpoints(Closed):
    """How often a stack's training is saved, whichever comes first; null: not for that reason."""

    minutes: Annotated[float, Gt(0)] | None = 5
    epochs: Annotated[int, Ge(1)] | None = None


class Budget(Closed):
    """How much a sweep may be; null is no limit. Twins count as trials, hours are those of one launch."""

    max_trials: Annotated[int, Ge(1)] | None = None
    max_hours: Annotated[float, Gt(0)] | None = None
    max_gpu_hours: Annotated[float, Gt(0)] | None = None


class Limits(Closed):
    """What ends a trial that goes wrong.

    `retries`: how often a trial is begun again whose worker or node was lost; its own exceptions are not retried.
    `node_failures`: a node on which so many trials in a row lose their worker gets no more of them; null: it does.
    `trial_minutes`: what trains longer in one launch ends as `failed`, saved, so that another launch goes on.
    """

    retries: Annotated[int, Ge(0)] = 3
    node_failures: Annotated[int, Ge(1)] | None = 3
    trial_minutes: Annotated[float, Gt(0)] | None = None


class Tracking(Closed):
    """Where the projection goes (null: the SQLite store inside the storage), and what of files it takes along.

    `weights` of no replicate, of those of the `best` trials once the sweep has ended, or of all; pictures of the
    spectra and curves of the best `pictures` trials, drawn when the sweep has ended.
    """

    uri: str | None = None
    weights: Literal["none", "best", "all"] = "none"
    best: Annotated[int, Ge(1)] = 3
    pictures: Annotated[int, Ge(0), Le(100)] = 12
