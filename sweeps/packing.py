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
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sweeps import layout, records
from sweeps.errors import SpecError
from sweeps.forks import Forks
from sweeps.planned import PlannedReplicate, PlannedTrial, Replicates
from sweeps.planning import Progress
from sweeps.spec import SweepSpec
from sweeps.texts import Texts
from sweeps.wording import counted

if TYPE_CHECKING:
    from sweeps.data import Dataset
    from sweeps.stacking import Stacking
    from sweeps.trial_spec import Training

Pack: TypeAlias = tuple[PlannedTrial, ...]

MOST = 8
"""Trials that `auto` packs at most: more gain little, and are lost together with their worker."""


NEVER = "resources.pack is never"
UNLIKE = "no other trial has the same data, batches, epochs, shapes, seeds and start"
BETWEEN = "others begin from them, and they from others"
BEGUN = "they go on as they began"
LEFT = "left over of their kind"


@dataclass(frozen=True)
class Packed:
    """How the trials of a launch go through processes.

    Attributes:
        packs: In the order of their first trials; most often of one trial.
        alone: How many trials are alone, by why.
        unmeasured: Trials of packs that the launch measures first, and takes apart where they are not faster.
    """

    packs: list[Pack] = field(default_factory=list)
    alone: Counter[str] = field(default_factory=Counter)
    unmeasured: int = 0

    @property
    def sizes(self) -> Counter[int]:
        """How many packs there are, by their trials; without trials that are alone."""
        return Counter(sorted((len(pack) for pack in self.packs if len(pack) > 1), reverse=True))

    def document(self) -> dict[str, Any]:
        """Plain values."""
        sizes = {str(size): count for size, count in self.sizes.items()}
        return {"packs": sizes, "unmeasured": self.unmeasured, "alone": dict(self.alone)}

    def line(self) -> str:
        """One line for a terminal."""
        packed = ", ".join(f"{count} of {counted(size, 'trial')}" for size, count in self.sizes.items())
        told = [f"packs: {packed or 'none'}"]
        if self.unmeasured:
            told[0] += f" ({counted(self.unmeasured, 'trial')} only if a launch measures that to be faster)"
        told += [f"{counted(count, 'trial')} alone: {why}" if count else why for why, count in self.alone.items()]
        return "; ".join(told)


def plan_packs(
    trials: Sequence[PlannedTrial],
    progress: Progress,
    sweep: Path,
    spec: SweepSpec,
    forks: Forks,
    datasets: Mapping[str, Dataset],
    *,
    room: int,
    measure: bool = True,
) -> Packed:
    """How the trials of a launch are packed.

    Args:
        trials: That the launch trains, in their order.
        progress: What is recorded.
        sweep: The sweep's folder.
        spec: The sweep's.
        forks: Which of them wait for which others.
        datasets: By fingerprint.
        room: Trials that can be under way at once.
        measure: Whether to measure what `auto` does not know yet; otherwise nothing is trained, nothing written.
    """
    groups, stored = _grouped(trials, progress, sweep, spec, forks)
    made, unmeasured = list[tuple[Pack, str]](), 0
    sizes = _Sizes(spec, sweep, datasets, room, measure=measure)
    for kind, group in groups.items():
        if kind in stored:
            made.append((tuple(sorted(group, key=lambda trial: _place(trial, stored[kind]))), BEGUN))
            continue
        size = sizes(group, len(progress.to_train(group[0])))
        split = _evenly(group, size.most)
        is_between = kind == group[0].trial_id and spec.resources.pack != "never"
        made += [(pack, BETWEEN if is_between else size.why or LEFT) for pack in split]
        unmeasured += sum(len(pack) for pack in split if len(pack) > 1) if size.is_open else 0
    first = {trial.trial_id: number for number, trial in enumerate(trials)}
    made.sort(key=lambda one: min(first[trial.trial_id] for trial in one[0]))
    alone = Counter(why for pack, why in made if len(pack) == 1)
    return Packed([pack for pack, _ in made], alone, unmeasured)


def _grouped(
    trials: Sequence[PlannedTrial], progress: Progress, sweep: Path, spec: SweepSpec, forks: Forks
) -> tuple[dict[Any, list[PlannedTrial]], dict[Any, tuple[str, ...]]]:
    """Trials by what they have in common; of groups that go on as they began, also the packs they began in."""
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
    return groups, stored


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

    def __call__(self, trial: PlannedTrial, wanted: Replicates) -> Any:
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
            tuple(wanted.seeds),
        )


def _slots(training: Training) -> tuple[tuple[str, int], ...]:
    """What the optimiser keeps: stacks of one structure keep the same."""
    from sweeps.training_step import Stepper

    return tuple(Stepper.of(training).optimiser.slots.items())


class _Size(NamedTuple):
    """How many trials of a kind are packed at most, at least one, and why no more where it is one.

    Attributes:
        most: At least one.
        why: Of one; empty where it is more.
        is_open: Whether that is to be measured first.
    """

    most: int
    why: str = ""
    is_open: bool = False


class _Sizes:
    """How many trials of a kind are packed at most."""

    def __init__(
        self, spec: SweepSpec, sweep: Path, datasets: Mapping[str, Dataset], room: int, *, measure: bool
    ) -> None:
        self._spec, self._sweep, self._datasets = spec, sweep, datasets
        self._room, self._measure = room, measure

    def __call__(self, group: Sequence[PlannedTrial], replicates: int) -> _Size:
        """Of a group whose trials train so many replicates each."""
        asked = self._spec.resources.pack
        if asked == "never":
            return _Size(1, NEVER)
        if len(group) < 2:
            return _Size(1, UNLIKE)
        if asked != "auto":
            return self._fitting(group[0], asked, replicates)
        if self._spec.stopper is not None:
            return _Size(1, "a stopper would leave their places in a pack empty")
        if self._spec.resources.device != "cpu":
            return _Size(1, "auto packs on a CPU only")
        most = min(MOST, math.ceil(len(group) / self._room))
        if most < 2:
            return _Size(1, f"there is room for {self._room} at once")
        return self._worth(group, self._fitting(group[0], most, replicates), replicates)

    def _worth(self, group: Sequence[PlannedTrial], size: _Size, replicates: int) -> _Size:
        """The size if packs of it are faster."""
        if size.most < 2:
            return size
        stacking = self._stacking(group[0])
        if not stacking.may_pack(replicates):
            return _Size(1, "only small perceptrons gain by it on a CPU")
        specs, threads = [trial.spec for trial in group[: size.most]], self._spec.resources.threads
        pays = stacking.packs_well(specs, replicates, threads=threads, measure=self._measure)
        if pays is None:
            return size._replace(is_open=True)
        return size if pays else _Size(1, "a measurement has shown that it is not faster")

    def _fitting(self, trial: PlannedTrial, most: int, replicates: int) -> _Size:
        """Trials whose stacks are one that is allowed and fits into memory; one where they are computed apart."""
        resources, stacking = self._spec.resources, self._stacking(trial)
        if not stacking.is_stackable:
            return _Size(1, f"replicates of {trial.spec.model.kind} are not computed as one")
        members = most * replicates if resources.stack == "auto" else min(most * replicates, resources.stack)
        why = f"resources.stack: {resources.stack} holds no two of them"
        if resources.device == "cpu" and members >= 2 * replicates:
            members, why = self._in_memory(stacking, members), "two do not fit into memory at once"
        return _Size(1, why) if members < 2 * replicates else _Size(members // replicates)

    def _in_memory(self, stacking: Stacking, members: int) -> int:
        """So many of some members as fit beside what else is trained."""
        while members > 1:
            try:
                return stacking.most(members, "auto", threads=self._spec.resources.threads, device="cpu")
            except SpecError:  # not even if they were computed one after another
                members //= 2
        return 1

    def _stacking(self, trial: PlannedTrial) -> Stacking:
        from sweeps.stacking import Stacking

        data = self._datasets[trial.fingerprint]
        return Stacking(trial.spec, data.shape, data.classes, self._sweep)
