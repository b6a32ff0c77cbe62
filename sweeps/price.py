"""What a launch will cost, before it starts: memory by arithmetic, time from what is recorded already."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps import records
from sweeps.planning import Plan, PlannedTrial, Progress
from sweeps.trial_spec import TrialSpec


@dataclass(frozen=True)
class Price:
    """An estimate.

    Attributes:
        trials: Trials that would be trained.
        memory_bytes: Of the largest trial while it trains, data set apart.
        seconds: Of training on `slots` at once; None while no trial of some of these shapes is recorded.
        slots: Trials that fit on this machine at once.
        records: Trials that the time is estimated from.
    """

    trials: int
    memory_bytes: int
    seconds: float | None
    slots: int
    records: int

    def line(self) -> str:
        """One line for a terminal."""
        from sweeps.progress import duration

        memory = f"memory up to {self.memory_bytes / 2**20:.0f} MiB a trial"
        if not self.trials:
            return "nothing to train"
        if self.seconds is None:
            return f"{memory}; time unknown: trials of these shapes have not been recorded yet"
        about = f"about {duration(self.seconds)} of training on {self.slots} trials at once"
        return f"{memory}; {about} (from {self.records} recorded trials)"


def price(made: Plan, progress: Progress, sweep: Path) -> Price:
    """Estimate what training the rest of a plan takes on this machine."""
    from sweeps.data import load
    from sweeps.training_memory import stack_bytes

    wanted = [trial for trial in made if progress.to_train(trial)]
    shapes = {planned.fingerprint: load(planned.spec.data) for planned in wanted}
    memory = [
        stack_bytes(t.spec, shapes[t.fingerprint].shape, shapes[t.fingerprint].classes, len(t.replicates))
        for t in wanted
    ]
    slots = max(1, int((os.cpu_count() or 1) / made.spec.resources.cpus))
    known = _recorded_seconds(made.trials, sweep)
    taken = [statistics.median(known[_shape(t.spec)]) for t in wanted if known.get(_shape(t.spec))]
    complete = len(taken) == len(wanted)
    used = sum(len(known[shape]) for shape in {_shape(t.spec) for t in wanted} if shape in known)
    return Price(len(wanted), max(memory, default=0), sum(taken) / slots if complete else None, slots, used)


def _shape(spec: TrialSpec) -> str:
    """What the time of a trial depends on most: data, architecture, epochs and batch, and whether it is pruned."""
    training = spec.training
    parts = (spec.data.model_dump_json(), spec.model.model_dump_json(), training.epochs, training.batch_size)
    return repr((*parts, spec.is_pruned))


def _recorded_seconds(trials: Sequence[PlannedTrial], sweep: Path) -> dict[str, list[float]]:
    """Wall seconds of recorded trials by shape; a trial's replicates train together and count once."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        taken = [
            record["wall_seconds"]
            for r in trial.replicates
            if (record := _finished(records.replicate_folder(sweep, trial.trial_id, r.replicate_id)))
        ]
        if taken:
            seconds[_shape(trial.spec)].append(max(taken))
    return seconds


def _finished(folder: Path) -> records.Record | None:
    if records.status_of(folder) != "finished":
        return None
    return records.read_record(folder)
