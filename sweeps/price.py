"""What a launch will cost, before it starts: memory by arithmetic, time from what is recorded already."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps import records
from sweeps.errors import SpecError
from sweeps.planning import Plan, PlannedTrial, Progress
from sweeps.spec import Resources
from sweeps.trial_spec import TrialSpec

if TYPE_CHECKING:
    from sweeps.data import Dataset


@dataclass(frozen=True)
class Price:
    """An estimate.

    Attributes:
        trials: Trials that would be trained.
        memory_bytes: Of the largest trial while it trains, data set apart.
        seconds: Of training on `slots` at once; None while no trial of some of these shapes is recorded.
        slots: Trials that fit on this machine at once.
        records: Trials that the time is estimated from.
        measures_unknown: Trials whose time is known but for their measures, which no record has taken yet.
    """

    trials: int
    memory_bytes: int
    seconds: float | None
    slots: int
    records: int
    measures_unknown: int = 0

    def line(self) -> str:
        """One line for a terminal."""
        from sweeps.progress import duration

        memory = f"memory up to {self.memory_bytes / 2**20:.0f} MiB a trial"
        if not self.trials:
            return "nothing to train"
        if self.seconds is None:
            return f"{memory}; time unknown: trials of these shapes have not been recorded yet"
        about = f"about {duration(self.seconds)} of training on {self.slots} trials at once"
        source = f"from {self.records} recorded trials"
        if self.measures_unknown:
            source += f"; the measures of {self.measures_unknown} trials come on top, not recorded yet"
        return f"{memory}; {about} ({source})"


def price(made: Plan, progress: Progress, sweep: Path) -> Price:
    """Estimate what training the rest of a plan takes on this machine."""
    from sweeps.data import load
    from sweeps.measuring import RECORDED

    wanted = [trial for trial in made if progress.to_train(trial)]
    shapes = {planned.fingerprint: load(planned.spec.data) for planned in wanted}
    memory = [_memory(t, shapes[t.fingerprint], made.spec.resources) for t in wanted]
    slots = max(1, int((os.cpu_count() or 1) / made.spec.resources.cpus))
    training, measuring = _recorded_seconds(made.trials, sweep)
    taken = [statistics.median(training[_shape(t.spec)]) for t in wanted if _shape(t.spec) in training]
    measured = [_measures(t.spec) for t in wanted]
    taken_by_measures = sum(statistics.median(measuring[some]) for some in measured if some in measuring)
    seconds = (sum(taken) + taken_by_measures) / slots if len(taken) == len(wanted) else None
    used = sum(len(training[shape]) for shape in {_shape(t.spec) for t in wanted} if shape in training)
    unknown = sum(bool(t.spec.measures.names - {RECORDED}) and _measures(t.spec) not in measuring for t in wanted)
    return Price(len(wanted), max(memory, default=0), seconds, slots, used, unknown)


def _memory(trial: PlannedTrial, data: Dataset, resources: Resources) -> int:
    """Bytes of a trial, its replicates in as many stacks as that takes."""
    from sweeps.stacking import Stacking
    from sweeps.training_memory import need_of

    count = len(trial.replicates)
    try:
        at_once = Stacking(trial.spec, data.shape, data.classes).most(
            count, resources.stack, threads=max(1, int(resources.cpus)), device="cpu"
        )
    except SpecError:  # too much for this machine; the estimate says how much
        at_once = 1
    return need_of(trial.spec, data.shape, data.classes).of(count, at_once=at_once)


def _shape(spec: TrialSpec) -> str:
    """What the time of a trial depends on most: data, architecture, epochs and batch, and whether it is pruned."""
    training = spec.training
    parts = (spec.data.model_dump_json(), spec.model.model_dump_json(), training.epochs, training.batch_size)
    return repr((*parts, spec.is_pruned))


def _measures(spec: TrialSpec) -> str:
    """What the time of a trial's measures depends on."""
    return repr((_shape(spec), spec.measures.model_dump_json()))


Seconds = dict[str, list[float]]


def _recorded_seconds(trials: Sequence[PlannedTrial], sweep: Path) -> tuple[Seconds, Seconds]:
    """Wall seconds of recorded trials by shape, and what their measures took of it by shape and measures.

    A trial's replicates train together, and are measured one after another.
    """
    training: Seconds = defaultdict(list)
    measuring: Seconds = defaultdict(list)
    for trial in trials:
        folders = (records.replicate_folder(sweep, trial.trial_id, r.replicate_id) for r in trial.replicates)
        found = [record for folder in folders if (record := _finished(folder))]
        if found:
            measured = sum(record.get("measure_seconds", 0.0) for record in found)
            training[_shape(trial.spec)].append(max(record["wall_seconds"] for record in found) - measured)
            measuring[_measures(trial.spec)].append(measured)
    return training, measuring


def _finished(folder: Path) -> records.Record | None:
    if records.status_of(folder) != "finished":
        return None
    return records.read_record(folder)
