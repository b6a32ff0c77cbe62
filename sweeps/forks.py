"""Forks: trials that differ in pruning only are the same up to their first cut, so that is trained once.

Such trials are a family, named after the unpruned twin; where spectra are recorded on the way, those that fit the
noise in another way are a family of their own, since their records differ before any cut. One of them, the twin
where it is to be trained, saves its stacks at the epochs the others need, in `forks/FAMILY/STACK/`; the others
begin there. What can not be found or used is trained from scratch, to the same bits.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps import checkpoint, layout, records, storage
from sweeps.identity import trial_id
from sweeps.planned import PlannedTrial, Replicates
from sweeps.planning import Progress
from sweeps.spec_means import Resources
from sweeps.wording import counted

if TYPE_CHECKING:
    from sweeps.training_state import State

FOLDER = "forks"


def family_of(trial: PlannedTrial) -> str:
    """Name of a trial's unpruned twin, planned or not, and of its noise fit where spectra on the way show it."""
    own = trial.trial_id if trial.role == "twin" else trial.twin
    name = own or trial_id(trial.spec.twin, trial.fingerprint)
    at_epochs = trial.spec.measures.at_epochs
    if not at_epochs:
        return name
    from sweeps.measuring import RECORDED

    if not any(epoch > 0 and RECORDED in names for epoch, names in at_epochs.items()):
        return name
    noise = json.dumps(trial.spec.prune.noise.model_dump(), sort_keys=True)
    return f"{name}-{hashlib.sha256(noise.encode()).hexdigest()[:8]}"


def folder_of(sweep: Path, family: str, stack: str) -> Path:
    """Where the states of a family's stack are."""
    return sweep / FOLDER / family / stack


def own_folder(sweep: Path, trial: str, stack: str) -> Path:
    """Where the checkpoints of a trial's own stack are."""
    return records.trial_folder(sweep, trial) / records.CHECKPOINT / stack


@dataclass
class Forks:
    """Who saves what for whom in a launch.

    Attributes:
        saves: By trial that others fork from: the epochs at which it saves its stacks.
        waits: By trial that forks: the trials it forks from, each with the epoch that it has to reach.
        starts: By trial that forks: the epoch it begins from.
        saved: Replicate-epochs that need not be trained, thanks to that.
        total: Replicate-epochs of the launch without it, less what its trials' own checkpoints hold.
    """

    saves: dict[str, list[int]] = field(default_factory=dict)
    waits: dict[str, dict[str, int]] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    saved: int = 0
    total: int = 0

    def line(self) -> str:
        """One line for a terminal."""
        share = self.saved / max(1, self.total)
        return (
            f"{counted(len(self.starts), 'trial')} can start where another that was the same up to its first cut "
            "has been: "
            f"{self.saved} of {self.total} replicate-epochs ({share:.0%}) are not trained again"
        )


def plan_forks(trials: Iterable[PlannedTrial], progress: Progress, sweep: Path, resources: Resources) -> Forks:
    """Find out which of the trials that a launch trains begin where another has been."""
    made = Forks()
    families: dict[str, list[tuple[PlannedTrial, Replicates]]] = defaultdict(list)
    for trial in trials:
        if wanted := progress.to_train(trial):
            families[family_of(trial)].append((trial, wanted))
    stacks_of = _Stacks(sweep, resources)
    has_states = (sweep / FOLDER).is_dir()
    for family, members in families.items():
        holders: dict[str, list[_Holding]] = defaultdict(list)
        for trial, wanted in members:
            limit = _limit(trial)
            for digest, size in stacks_of(trial, wanted):
                own = stacks_of.own_epoch(trial, digest)
                found = max(usable(folder_of(sweep, family, digest), trial), default=0) if has_states else 0
                holders[digest].append(_Holding(trial, limit, size, own, found))
        for holding in holders.values():
            _share(made, holding)
    return made


class _Stacks:
    """The stacks of trials: what they can share, and how many replicates they have.

    Most trials have begun nothing and have the same seeds, so the same stacks: these are laid out once.
    """

    def __init__(self, sweep: Path, resources: Resources) -> None:
        self._sweep, self._resources = sweep, resources
        self._begun = {folder.name for folder in (sweep / "trials").glob("*")}
        # By the seeds' own identities, which the trials of a plan share.
        self._new: dict[tuple[int, ...], list[tuple[str, int]]] = {}

    def __call__(self, trial: PlannedTrial, wanted: Replicates) -> list[tuple[str, int]]:
        if trial.trial_id in self._begun:
            return self._laid_out(trial, wanted)
        seeds = tuple(map(id, wanted.seeds))
        if seeds not in self._new:
            self._new[seeds] = self._laid_out(trial, wanted)
        return self._new[seeds]

    def own_epoch(self, trial: PlannedTrial, digest: str) -> int:
        """Epoch of a stack's own latest checkpoint, 0 without one."""
        if trial.trial_id not in self._begun:
            return 0
        return max(checkpoint.epochs(own_folder(self._sweep, trial.trial_id, digest)), default=0)

    def _laid_out(self, trial: PlannedTrial, wanted: Replicates) -> list[tuple[str, int]]:
        # Where memory asks for smaller stacks, which the worker finds out, the siblings' are the same as the
        # twin's.
        asked = self._resources
        most = None if asked.stack == "auto" else asked.stack
        folder = records.trial_folder(self._sweep, trial.trial_id)
        stacks = layout.expected(folder, wanted, threads=asked.threads, device=asked.device, most=most)
        return [(checkpoint.digest_of(stack), len(stack.seeds)) for stack in stacks]


class _Holding(NamedTuple):
    """A trial's part in a stack that several have in common, as it begins without the others.

    Attributes:
        trial: It.
        limit: Epoch up to which it is its twin.
        replicates: Of the stack.
        own: Epoch of its own checkpoint, 0 without one.
        found: Latest epoch up to its first cut at which a trial of the family was saved before, 0 without one.
    """

    trial: PlannedTrial
    limit: float
    replicates: int
    own: int
    found: int

    @property
    def begins(self) -> int:
        """Epoch from which it trains."""
        return max(self.own, self.found)


def _share(made: Forks, holding: list[_Holding]) -> None:
    """Let trials that have a stack in common save it for the others, wherever they still come past.

    What an earlier launch has trained and not saved for others can not be had again: those train it themselves.
    """
    passing: list[_Holding] = []
    # Waiting follows one order of all trials, so that no two wait for each other.
    for one in sorted(holding, key=lambda one: (one.limit, one.trial.trial_id), reverse=True):
        trial, limit, begins = one.trial, one.limit, one.begins
        start = one.found if one.found > one.own else 0
        donor = next((other for other in passing if other.begins < limit), None)
        if begins < limit < math.inf and donor is not None:
            start = int(limit)
            made.waits.setdefault(trial.trial_id, {})[donor.trial.trial_id] = start
            saves = made.saves.setdefault(donor.trial.trial_id, [])
            if start not in saves:
                bisect.insort(saves, start)
        else:
            passing.append(one)
        if start and trial.role != "twin":
            made.starts[trial.trial_id] = start
        made.saved += max(0, start - one.own) * one.replicates
        made.total += (trial.spec.training.epochs - one.own) * one.replicates


def _limit(trial: PlannedTrial) -> float:
    """Epoch up to which a trial is its twin."""
    cut = trial.spec.prune.first_cut
    return math.inf if cut is None else cut


def usable(folder: Path, trial: PlannedTrial) -> list[int]:
    """Epochs of its family's states that a trial may begin from: those up to its first cut."""
    return [epoch for epoch in checkpoint.epochs(folder) if epoch <= _limit(trial)]


def adopt(state: State, noise: Mapping[str, Any], own: Callable[[], State]) -> State:
    """Another trial's state with the spectra of the trial that begins from it, whose noise fit may differ.

    Args:
        state: Of a training that has pruned nothing yet.
        noise: How the training that begins fits the noise.
        own: Gives its own state at epoch 0; asked only where the other trial fits in another way.

    Raises:
        ValueError: There are spectra of later epochs, fitted as the other trial's spec says.
    """
    if state.document.get("noise") == noise:
        return state
    theirs = [spectra["fits"] for spectra in state.document["spectra"]]
    later = {row["epoch"] for fits in theirs for row in fits} - {0}
    if later:
        raise ValueError(f"it has spectra of epochs {sorted(later)}, fitted for another trial")
    first = own()
    tensors = {name: value for name, value in state.tensors.items() if not name.startswith("spectra")}
    tensors |= {name: value for name, value in first.tensors.items() if name.startswith("spectra")}
    document: dict[str, Any] = {**state.document, **{name: first.document[name] for name in ("spectra", "noise")}}
    return state._replace(tensors=tensors, document=document)


class Leftovers:
    """Deletes a family's states once none of its trials in a launch needs them any more."""

    def __init__(self, sweep: Path, trials: Iterable[PlannedTrial]) -> None:
        self._sweep = sweep
        self._open: dict[str, set[str]] = defaultdict(set)
        for trial in trials:
            self._open[family_of(trial)].add(trial.trial_id)

    def end(self, trial: PlannedTrial) -> None:
        """Say that all replicates of a trial have final records."""
        family = family_of(trial)
        self._open[family].discard(trial.trial_id)
        if not self._open[family]:
            storage.remove_folder(self._sweep / FOLDER / family)


def tidy(sweep: Path, trials: Iterable[PlannedTrial], progress: Progress) -> None:
    """Delete checkpoints and states that crashes left behind and no planned trial needs any more."""
    needed = set()
    for trial in trials:
        if progress.to_train(trial):
            needed.add(family_of(trial))
        elif not any(r.replicate_id in progress.standing for r in trial.replicates):  # another stopper may let it
            saved = records.trial_folder(sweep, trial.trial_id) / records.CHECKPOINT
            if saved.is_dir():
                storage.remove_folder(saved)
    for folder in (sweep / FOLDER).glob("*"):
        if folder.name not in needed:
            storage.remove_folder(folder)
