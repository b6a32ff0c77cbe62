"""What a launch will cost, before it starts: memory by arithmetic, time from records or a pilot."""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import records
from sweeps.cautions import one_of_each_size
from sweeps.errors import Problem, SpecError
from sweeps.forks import Forks
from sweeps.planned import PlannedReplicate, PlannedTrial
from sweeps.planning import Plan, Progress
from sweeps.price_pace import LEVEL, Pace, Shapes, observed, total
from sweeps.spec_means import Resources
from sweeps.wording import counted

if TYPE_CHECKING:
    from sweeps.data import Dataset

# Recorded trials of a shape that a pace is taken from, evenly over the plan: more would not narrow the interval.
MOST_READ = 50
SETTLED = ("finished", "diverged", "stopped")
BY_RECORDS = "prediction interval from the scatter of recorded trials' paces"
BY_PILOT = "prediction interval from the scatter of a pilot's epochs"


@dataclass(frozen=True)
class Price:
    """An estimate.

    Attributes:
        trials: Trials that would be trained.
        memory_bytes: Of the largest trial while it trains, data set apart.
        seconds: Of training on `slots` at once; None while the pace of some of these shapes is not known.
        interval: What `seconds` will be with the probability `level`; None where there is no ground for one.
        level: Of the interval.
        method: Where the interval comes from, or why there is none.
        slots: Trials that fit at once on the resources asked about.
        records: Trials that the time is estimated from.
        shapes: Kinds of trials that take their own time: data, architecture, batch, optimiser, pruned or not.
        shapes_unknown: Those of them whose pace is not known.
        measures_unknown: Trials whose time is known but for their measures, which no record has taken yet.
    """

    trials: int
    memory_bytes: int
    seconds: float | None
    slots: int
    records: int
    measures_unknown: int = 0
    interval: tuple[float, float] | None = None
    level: float = LEVEL
    method: str = ""
    shapes: int = 0
    shapes_unknown: int = 0

    def document(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def line(self) -> str:
        """One line for a terminal."""
        from sweeps.progress import duration

        memory = f"memory up to {self.memory_bytes / 2**20:.0f} MiB a trial"
        if not self.trials:
            return "nothing to train"
        if self.seconds is None:
            return f"{memory}; time unknown: {self.method}"
        about = f"about {duration(self.seconds)} of training on {counted(self.slots, 'trial')} at once"
        if self.interval is not None:
            low, high = map(duration, self.interval)
            about += f", {self.level:.0%} between {low} and {high}"
        source = f"from {self.records} recorded trials; " if self.records else ""
        source += self.method
        if self.measures_unknown:
            source += f"; the measures of {counted(self.measures_unknown, 'trial')} come on top, not recorded yet"
        return f"{memory}; {about} ({source})"


def price(
    made: Plan,
    progress: Progress,
    sweep: Path,
    *,
    forks: Forks | None = None,
    slots: int | None = None,
    pilot: Mapping[str, Pace] | None = None,
    ends: Sequence[PlannedTrial] = (),
) -> Price:
    """Estimate what training the rest of a plan takes.

    Args:
        made: The plan.
        progress: What is recorded of it.
        sweep: Folder of the sweep, whose records tell the pace.
        forks: What need not be trained since a sibling has been there.
        slots: Trials at once; by default as many as this machine has processors (or GPUs) for.
        pilot: Paces by shape, used where nothing is recorded.
        ends: Trials that are not of the plan and may be as large as those that a search is yet to choose.
    """
    shapes, starts = Shapes(), (forks or Forks()).starts
    wanted = [(trial, len(left)) for trial in made if (left := progress.to_train(trial))]
    work: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for trial, replicates in wanted:
        epochs = trial.spec.training.epochs - starts.get(trial.trial_id, 0)
        work[shapes(trial.spec)].append((replicates, epochs))
    paces, measuring, read = _recorded(made, progress, sweep, shapes, set(work))
    paces = dict(pilot or {}) | paces
    slots = slots or slots_here(made.spec.resources)
    memory = _memory([*(trial for trial, _ in wanted), *(ends if wanted else ())], made.spec.resources)
    costly = _costly_measures([trial for trial, _ in wanted])
    asked = [(shapes.measured(trial.spec), n) for trial, n in wanted if id(trial.spec.measures) in costly]
    unknown = [shape for shape in work if shape not in paces]
    found = Price(len(wanted), memory, None, slots, 0, shapes=len(work), shapes_unknown=len(unknown))
    if unknown:
        return _changed(found, method=_why_unknown(len(unknown), len(work)))
    terms = [paces[shape].of(some) for shape, some in work.items()]
    terms += [
        Pace(measuring[shape]).of([(1, 1)] * count)
        for shape, count in _counted(asked).items()
        if shape in measuring
    ]
    expected, interval = total(terms)
    each = [replicates * epochs for some in work.values() for replicates, epochs in some]
    share = _makespan(each, slots) / max(1, sum(each))
    used = [paces[shape] for shape in work]
    return _changed(
        found,
        seconds=expected * share,
        interval=None if interval is None else (interval[0] * share, interval[1] * share),
        method=_method(used, interval is not None),
        records=sum(read[shape] for shape in work if paces[shape].each == "trial"),
        measures_unknown=sum(shape not in measuring for shape, _ in asked),
    )


def _changed(found: Price, **changes: Any) -> Price:
    return replace(found, **changes)


def _why_unknown(unknown: int, shapes: int) -> str:
    which = "trials of these shapes" if unknown == shapes else f"trials of {unknown} of {shapes} shapes"
    return f"{which} have not been recorded yet; sweeps plan --pilot trains a little of each to tell"


def _method(paces: Sequence[Pace], has_interval: bool) -> str:
    """How the interval was made, and what it does not know."""
    piloted = sum(pace.each == "epoch" for pace in paces)
    if not has_interval:
        few = sum(len(pace.seconds) == 1 for pace in paces)
        return f"no interval: of {few} of {len(paces)} shapes one trial only has been observed, with no scatter"
    method = BY_RECORDS if not piloted else BY_PILOT
    if 0 < piloted < len(paces):
        method += f", of recorded trials' for {len(paces) - piloted} of {len(paces)} shapes"
    return f"{method}, on machines as fast and as busy as then; starting Ray is not in it"


def _memory(trials: Sequence[PlannedTrial], resources: Resources) -> int:
    """Bytes of the largest trial."""
    from sweeps.data import load

    return max((_bytes(one, load(one.spec.data), resources) for one in one_of_each_size(trials)), default=0)


def _bytes(trial: PlannedTrial, data: Dataset, resources: Resources) -> int:
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


def slots_here(resources: Resources) -> int:
    """Trials that this machine has processors, and GPUs if they want any, for at once; one at least."""
    gpus = None
    if resources.gpus:
        import torch

        gpus = float(torch.cuda.device_count())
    return max(1, _fitting(resources, os.cpu_count() or 1, gpus))


def slots_of(resources: Resources, *, cpus: float | None, gpus: float | None) -> int:
    """Trials that given resources hold at once; what is not given is no limit beyond what this machine has.

    Raises:
        SpecError: They do not hold a single one.
    """
    if gpus is None and resources.gpus:
        import torch

        gpus = float(torch.cuda.device_count())
    slots = _fitting(resources, os.cpu_count() or 1 if cpus is None else cpus, gpus)
    if slots < 1:
        there = f"{cpus if cpus is not None else os.cpu_count():g} CPUs and {gpus or 0:g} GPUs"
        message = f"a trial wants {resources.cpus:g} CPUs and {resources.gpus:g} GPUs; {there} hold none of them"
        raise SpecError([Problem("resources", message)])
    return slots


def _fitting(resources: Resources, cpus: float, gpus: float | None) -> int:
    by_cpus = int(cpus / resources.cpus)
    return by_cpus if not resources.gpus else min(by_cpus, int((gpus or 0.0) / resources.gpus))


def _makespan(each: Iterable[int], slots: int) -> float:
    """When the last of some pieces of work is done, in their order by whichever slot is free first."""
    free = [0.0] * slots
    for one in each:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def _costly_measures(trials: Iterable[PlannedTrial]) -> set[int]:
    """Which of the trials' measures cost time, by their own identity: most trials share them."""
    from sweeps.measuring import RECORDED

    different = {id(trial.spec.measures): trial.spec.measures for trial in trials}
    return {number for number, measures in different.items() if measures.names - {RECORDED}}


def _counted(asked: Iterable[tuple[str, int]]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for shape, replicates in asked:
        counts[shape] += replicates
    return counts


def _recorded(
    made: Plan, progress: Progress, sweep: Path, shapes: Shapes, wanted: set[str]
) -> tuple[dict[str, Pace], dict[str, tuple[float, ...]], dict[str, int]]:
    """Paces of wanted shapes, seconds of a replicate's measures, and how many trials of a shape that is from."""
    if not progress.counts.keys() & set(SETTLED):
        return {}, {}, {}
    ended: dict[str, list[PlannedTrial]] = defaultdict(list)
    for trial in made:
        if trial.trial_id in progress.begun and any(_is_settled(one, progress) for one in trial.replicates):
            ended[shapes(trial.spec)].append(trial)
    paces: dict[str, Pace] = {}
    measuring: dict[str, list[float]] = defaultdict(list)
    read: dict[str, int] = {}
    for shape in wanted & ended.keys():
        found: list[float] = []
        for trial in ended[shape][:: -(-len(ended[shape]) // MOST_READ)]:
            settled = list(_settled(trial, progress, sweep))
            pace = observed(settled)
            found += [] if pace is None else [pace]
            taken = [one.get("measure_seconds", 0.0) for one in settled if one["status"] == "finished"]
            measuring[shapes.measured(trial.spec)] += taken
        if found:
            paces[shape], read[shape] = Pace(tuple(found)), len(found)
    return paces, {shape: tuple(seconds) for shape, seconds in measuring.items() if seconds}, read


def _settled(trial: PlannedTrial, progress: Progress, sweep: Path) -> Iterable[records.Record]:
    for replicate in trial.replicates:
        if _is_settled(replicate, progress):
            record = records.read_record(records.replicate_folder(sweep, trial.trial_id, replicate.replicate_id))
            if record is not None:
                yield record


def _is_settled(replicate: PlannedReplicate, progress: Progress) -> bool:
    return progress.states.get(replicate.replicate_id) in SETTLED


def recorded_shapes(made: Plan, progress: Progress, sweep: Path) -> set[str]:
    """Shapes whose pace the sweep's records tell."""
    shapes = Shapes()
    return set(_recorded(made, progress, sweep, shapes, {shapes(trial.spec) for trial in made})[0])
