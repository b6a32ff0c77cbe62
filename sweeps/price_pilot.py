"""A pilot: a few epochs of one trial of each shape that nothing is recorded of, in this process, for the pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sweeps.errors import Problem, SpecError, SweepError
from sweeps.planned import PlannedTrial
from sweeps.planning import Plan, Progress
from sweeps.price_pace import Pace, Shapes
from sweeps.result import TrialResult
from sweeps.spec_means import Resources
from sweeps.status import Status
from sweeps.wording import counted

FEWEST_EPOCHS = 4
"""The first, in which memory and caches are warmed up, and three to scatter."""
ENOUGH_SECONDS = 15.0
"""After which no other epoch of a trial is begun."""


class PilotFailed(SweepError, RuntimeError):
    """A pilot raised an error, as its trial would in the sweep."""


@dataclass(frozen=True)
class Pilot:
    """What was trained of one shape.

    Attributes:
        shape: As `Shapes` tells them apart.
        trial_id: Of the trial that stood for it.
        replicates: Trained together.
        epoch_seconds: Of each epoch.
        pruned: Whether there was a cut among them; None for a trial that has none.
    """

    shape: str
    trial_id: str
    replicates: int
    epoch_seconds: tuple[float, ...]
    pruned: bool | None

    @property
    def pace(self) -> Pace:
        """Seconds of a replicate and epoch, without the first epoch where there are others."""
        counted = self.epoch_seconds[1:] or self.epoch_seconds
        return Pace(tuple(seconds / self.replicates for seconds in counted), each="epoch")

    def line(self) -> str:
        """One line for a terminal."""
        seconds = ", ".join(f"{one:.2f}" for one in self.epoch_seconds)
        which = "an unpruned trial" if self.pruned is None else "a pruned trial"
        cuts = " (no cut was due yet)" if self.pruned is False else ""
        return (
            f"pilot: {which} ({self.trial_id}), {counted(self.replicates, 'replicate')} together, alone in one "
            f"process: epochs of {seconds} s{cuts}"
        )


def pilot(
    made: Plan,
    progress: Progress,
    known: set[str],
    *,
    enough: float = ENOUGH_SECONDS,
    tell: Callable[[Pilot], None] = lambda one: None,
) -> list[Pilot]:
    """Train the beginning of one trial of each shape that a launch trains; nothing of it is kept.

    Args:
        made: The plan.
        progress: What is recorded of it.
        known: Shapes that need none.
        enough: Seconds after which no other epoch of a trial is begun.
        tell: Called with each one as it has ended.

    Raises:
        SpecError: The trials want a GPU and there is none here.
        PilotFailed: One raised an error; names the trial.
    """
    _require_device(made.spec.resources)
    shapes, found = Shapes(), []
    seen = set(known)
    for trial in made:
        shape = shapes(trial.spec)
        if shape not in seen and progress.to_train(trial):
            seen.add(shape)
            found.append(_train(trial, shape, progress, made.spec.resources, enough))
            tell(found[-1])
    return found


def _require_device(resources: Resources) -> None:
    import torch

    if resources.gpus and not torch.cuda.is_available():
        message = (
            f"{resources.gpus:g} are wanted and this machine has none to train a pilot on; allowed: plan there"
        )
        raise SpecError([Problem("resources.gpus", message)])


def _train(trial: PlannedTrial, shape: str, progress: Progress, resources: Resources, enough: float) -> Pilot:
    """Epochs up to the one after the first cut, if that is not too long."""
    from sweeps.data import load
    from sweeps.trial import TrialRun

    wanted = progress.to_train(trial)
    run = TrialRun(
        trial,
        wanted,
        load(trial.spec.data),
        threads=resources.threads,
        device=resources.device,
        most=resources.stack,
    )
    cut = trial.spec.first_cut
    most = max(FEWEST_EPOCHS, (cut or 0) + 2)
    began = before = time.perf_counter()
    seconds: list[float] = []
    while len(seconds) < most and (not seconds or before - began < enough) and run.step() is not None:
        _require_health(run.result)
        now = time.perf_counter()
        seconds.append(now - before)
        before = now
    pruned = None if cut is None else len(seconds) > cut
    return Pilot(shape, trial.trial_id, len(wanted), tuple(seconds), pruned)


def _require_health(result: TrialResult) -> None:
    failed = next((one for one in result.replicates if one.status is Status.FAILED), None)
    if failed is not None:
        raise PilotFailed(f"the pilot of trial {result.trial_id} failed: {failed.reason}")
