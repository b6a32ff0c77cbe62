"""Which trials of a launch go through one process together, their stacks computed as one: packs.

A pack is of trials that see the same examples in the same order: equal data, batches, epochs, shapes and seeds.
Rates, schedules, penalties, clipping, initialisation, pruning and measures may differ. Twins go with twins, and
trials that begin from another's state with such as begin from the same epoch, so that no pack waits for itself.

`auto` packs where that is known or measured to be faster: small trials on a CPU, more of them than there is room
for at once. Not where a stopper ends trials early, whose places in a pack would stay and cost their time; nor
where a search wants each result before it chooses the next. It is not the default: a packed trial is equal to the
same trial alone but for rounding, and whether it was packed depends on the machine.

A pack is stored with the stacks of its trials, and a launch that goes on with any of them gives them the places
they had.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sweeps import layout, records
from sweeps.forks import Forks
from sweeps.planning import PlannedReplicate, PlannedTrial, Progress
from sweeps.spec import SweepSpec
from sweeps.texts import Texts

if TYPE_CHECKING:
    from sweeps.data import Dataset
    from sweeps.stacking import Stacking
    from sweeps.trial_spec import Training

Pack: TypeAlias = tuple[PlannedTrial, ...]

MOST = 8
"""Trials that `auto` packs at most: more gain little, and are lost together with their worker."""


def plan_packs(
    trials: Sequence[PlannedTrial],
    progress: Progress,
    sweep: Path,
    spec: SweepSpec,
    forks: Forks,
    datasets: dict[str, Dataset],
    *,
    room: int,
) -> list[Pack]:
    """The packs of a launch, in the order of their first trials; most often of one trial.

    Args:
        trials: That the launch trains, in their order.
        progress: What is recorded.
        sweep: The sweep's folder.
        spec: The sweep's.
        forks: Which of them wait for which others.
        datasets: By fingerprint.
        room: Trials that can be under way at once.
    """
    begun = {folder.name for folder in (sweep / "trials").glob("*")}
    kinds, groups = _Kinds(forks), dict[Any, list[PlannedTrial]]()
    stored: dict[Any, tuple[str, ...]] = {}
    for trial in trials:
        wanted = progress.to_train(trial)
        folder = records.trial_folder(sweep, trial.trial_id)
        kind: Any = None
        if known := _touched(folder, wanted) if trial.trial_id in begun else []:
            kind = known[0].pack or trial.trial_id
            stored[kind] = known[0].pack
        elif spec.resources.pack != "never":
            kind = kinds(trial, wanted)
        groups.setdefault(kind if kind is not None else trial.trial_id, []).append(trial)
    packs: list[Pack] = []
    sizes = _Sizes(spec, sweep, datasets, room)
    for kind, group in groups.items():
        if kind in stored:
            packs.append(tuple(sorted(group, key=lambda trial: _place(trial, stored[kind]))))
        else:
            packs += _evenly(group, sizes(group, len(progress.to_train(group[0]))))
    first = {trial.trial_id: number for number, trial in enumerate(trials)}
    return sorted(packs, key=lambda pack: min(first[trial.trial_id] for trial in pack))


def _touched(folder: Path, wanted: Sequence[PlannedReplicate]) -> list[layout.Stack]:
    """Stacks of a trial that are laid out and hold any of the wanted replicates."""
    names = {replicate.replicate_id for replicate in wanted}
    return [stack for stack in layout.read(folder) if names & set(stack.members)]


def _place(trial: PlannedTrial, pack: tuple[str, ...]) -> int:
    return pack.index(trial.trial_id) if trial.trial_id in pack else 0


def _evenly(group: Sequence[PlannedTrial], most: int) -> list[Pack]:
    count = math.ceil(len(group) / most)
    ends = [round(len(group) * number / count) for number in range(count + 1)]
    return [tuple(group[start:end]) for start, end in itertools.pairwise(ends)]


class _Kinds:
    """What trials have in common that may be packed."""

    def __init__(self, forks: Forks) -> None:
        self._forks, self._texts = forks, Texts()

    def __call__(self, trial: PlannedTrial, wanted: Sequence[PlannedReplicate]) -> Any:
        """Equal for trials that may be packed; None for one that others wait for while it waits itself."""
        waits = trial.trial_id in self._forks.waits
        if waits and trial.trial_id in self._forks.saves:
            return None
        training = trial.spec.training
        return (
            trial.fingerprint,
            trial.role,
            waits,
            self._forks.starts.get(trial.trial_id, 0),
            self._texts(trial.spec.data, trial.spec.model),
            tuple(step.model_dump_json() for step in training.augmentation),
            (training.epochs, training.batch_size, training.precision, training.label_smoothing),
            (training.deterministic, training.compile),
            _slots(training),
            tuple(replicate.seeds for replicate in wanted),
        )


def _slots(training: Training) -> tuple[tuple[str, int], ...]:
    """What the optimiser keeps: stacks of one structure keep the same."""
    from sweeps.training_step import Stepper

    return tuple(Stepper.of(training).optimiser.slots.items())


class _Sizes:
    """How many trials of a kind are packed at most."""

    def __init__(self, spec: SweepSpec, sweep: Path, datasets: dict[str, Dataset], room: int) -> None:
        self._spec, self._sweep, self._datasets, self._room = spec, sweep, datasets, room

    def __call__(self, group: Sequence[PlannedTrial], replicates: int) -> int:
        """At least one; `replicates` is how many each trial of the group trains."""
        asked = self._spec.resources.pack
        if asked == "never" or len(group) < 2:
            return 1
        if asked != "auto":
            return min(asked, self._fitting(group[0], asked, replicates))
        if self._spec.stopper is not None or self._spec.resources.device != "cpu":
            return 1
        most = min(MOST, math.ceil(len(group) / self._room))
        most = min(most, self._fitting(group[0], most, replicates))
        stacking = self._stacking(group[0])
        if most < 2 or not stacking.may_pack(replicates):
            return 1
        specs = [trial.spec for trial in group[:most]]
        return most if stacking.packs_well(specs, replicates, threads=self._spec.resources.threads) else 1

    def _fitting(self, trial: PlannedTrial, most: int, replicates: int) -> int:
        """Trials whose stacks are one that is allowed and fits into memory; one where they are computed apart."""
        resources, stacking = self._spec.resources, self._stacking(trial)
        if not stacking.is_stackable:
            return 1
        members = most * replicates
        if resources.device == "cpu":
            members = stacking.most(members, resources.stack, threads=resources.threads, device="cpu")
        elif resources.stack != "auto":
            members = min(members, resources.stack)
        return max(1, members // replicates)

    def _stacking(self, trial: PlannedTrial) -> Stacking:
        from sweeps.stacking import Stacking

        data = self._datasets[trial.fingerprint]
        return Stacking(trial.spec, data.shape, data.classes, self._sweep)
