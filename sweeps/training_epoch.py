"""One epoch of a training, or of several that are computed as one: steps, divergence, evaluation, rows.

Trainings that share their data, in the same order, may be computed beside each other: stacks of equal structure
become parts of one, each of which is updated as its own configuration says. Nothing passes from one to another. A
replicate's numbers depend on the shapes of the batched products, so every training keeps its places: those of one
that has ended, or is at another epoch, are zero. Only what the ranks of an absent one would have made of the
shapes after a cut is lost, and with it at most the rounding of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sweeps import training_step
from sweeps.stack import Stack, joined
from sweeps.stack_program import Program
from sweeps.training_evaluation import BATCH, Evaluation, evaluate
from sweeps.training_step import Stepper, deterministic

if TYPE_CHECKING:
    from sweeps.training import StackTraining

EpochRow: TypeAlias = dict[str, float]
Rows: TypeAlias = list[EpochRow | None]


class Trained(NamedTuple):
    """What one epoch of a stack's training found.

    Attributes:
        losses: (step, replicate) float64, summed over the batch.
        hits: (replicate,) examples classified rightly, each by the network of its step.
        gradient_norms: (replicate,) of the last step, penalty included.
        seconds: What it took.
    """

    losses: Tensor
    hits: Tensor
    gradient_norms: Tensor | None
    seconds: float

    def of(self, places: slice, share: float) -> Trained:
        """The same of some of the replicates, which are a share of all."""
        gradient_norms = None if self.gradient_norms is None else self.gradient_norms[places]
        return Trained(self.losses[:, places], self.hits[places], gradient_norms, share * self.seconds)


class Own(NamedTuple):
    """One of a training's own stacks, with its places in the stack that is computed."""

    training: StackTraining
    stack: Stack
    places: slice


@dataclass
class Group:
    """Stacks that are computed as one.

    Attributes:
        stack: What is computed.
        program: Computes it.
        owns: Whose it is, in the order of the places.
        alike: Which places are updated by which stepper.
    """

    stack: Stack
    program: Program
    owns: list[Own]
    alike: list[tuple[slice, Stepper]] = field(init=False)

    def __post_init__(self) -> None:
        steppers = ((own.places, own.training.stepper) for own in self.owns)
        self.alike = training_step.alike(steppers, len(self.stack.members))

    @classmethod
    def alone(cls, training: StackTraining) -> list[Group]:
        """The stacks of a training that nothing is computed beside, as they are."""
        return [
            cls(stack, program, [Own(training, stack, slice(0, len(stack.members)))])
            for stack, program in training.stacks
        ]

    def holds(self, stacks: Sequence[Stack]) -> bool:
        """Whether these and no others are its parts."""
        mine = [own.stack for own in self.owns]
        return len(mine) == len(stacks) and all(a is b for a, b in zip(mine, stacks, strict=True))

    def train(self) -> Trained:
        """One epoch over the training examples."""
        began = time.perf_counter()
        first = self.owns[0].training
        steps, done = first.steps, first.epoch - 1
        losses, hits = [], []
        for number, batch in enumerate(first.batches()):
            rates = (stepper.rate(done + (number + 0.5) / steps) for _, stepper in self.alike)
            found = training_step.step(
                self.stack,
                self.program,
                batch.inputs,
                batch.labels,
                [training_step.Part(*some, rate) for some, rate in zip(self.alike, rates, strict=True)],
                number=done * steps + number + 1,
                with_norms=number == steps - 1,
            )
            losses.append(found.losses * len(batch))
            hits.append(found.hits)
        return Trained(
            torch.stack(losses).double().cpu(),
            torch.stack(hits).sum(0).cpu(),
            found.gradient_norms,
            time.perf_counter() - began,
        )

    def freeze(self) -> None:
        """Freeze in the whole what is frozen in a part."""
        for own in self.owns:
            self.stack.frozen |= {own.places.start + place for place in own.stack.frozen}

    def evaluate(self) -> tuple[Evaluation, float]:
        """On the validation examples, and the seconds it took."""
        began = time.perf_counter()
        found = evaluate(self.stack, self.program, self.owns[0].training.validation.split(BATCH))
        return found, time.perf_counter() - began

    def share(self, own: Own) -> float:
        """Of the time, by replicates."""
        return len(own.stack.members) / sum(len(other.stack.members) for other in self.owns)

    def run(self, rows: Mapping[StackTraining, Rows]) -> None:
        """Train and evaluate; the rows of those that go on are put where they belong."""
        if all(len(own.stack.frozen) == len(own.stack.members) for own in self.owns):
            return
        self.freeze()
        trained = self.train()
        its = [trained.of(own.places, self.share(own)) for own in self.owns]
        for own, found in zip(self.owns, its, strict=True):
            own.training.end_diverged(own.stack, found)
        self.freeze()
        evaluation, seconds = self.evaluate()
        for own, found in zip(self.owns, its, strict=True):
            evaluated = evaluation.of(own.places)
            for place, row in own.training.rows(own.stack, found, evaluated, self.share(own) * seconds).items():
                rows[own.training][own.stack.members[place]] = row


def run_alone(training: StackTraining) -> Rows:
    """An epoch of one training: a row a replicate, None for one that has ended."""
    training.use_threads()
    with deterministic(training.spec.training.deterministic):
        training.begin_epoch()
        rows: Rows = [None] * len(training.seeds)
        for group in Group.alone(training):
            group.run({training: rows})
        training.end_epoch()
    return rows


class Beside:
    """Trainings of several trials, computed beside each other where they are at the same epoch.

    Args:
        sizes: Replicates of each by name, in the order of their places.

    Attributes:
        groups: What is computed as one, as it was in the last epoch.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = dict(sizes)
        self._trainings: dict[str, StackTraining] = {}
        self.groups: list[Group] = []
        self._found: dict[str, Rows | Exception] = {}

    @property
    def names(self) -> list[str]:
        """Of the trainings that take part, in the order of their places."""
        return [name for name in self._sizes if name in self._trainings]

    def enter(self, name: str, training: StackTraining) -> None:
        """Let a training take part, in the places that are its own."""
        self._trainings[name] = training

    def leave(self, name: str) -> None:
        """A training has ended: its places are empty from now on."""
        self._trainings.pop(name, None)
        self._found.pop(name, None)
        if not self._trainings:
            self.groups = []

    def run_epoch(self, name: str) -> Rows:
        """The next epoch of a training, and with it that of all the others which are where it is.

        Raises:
            Exception: Whatever the training raised; the others have not been touched by what is its own doing.
        """
        if name not in self._found:
            epoch = self._trainings[name].epoch
            self._run({one: its for one, its in self._trainings.items() if its.epoch == epoch})
        found = self._found.pop(name)
        if isinstance(found, Exception):
            raise found
        return found

    def _run(self, trainings: Mapping[str, StackTraining]) -> None:
        first = next(iter(trainings.values()))
        first.use_threads()
        with deterministic(first.spec.training.deterministic):
            begun = {name: its for name, its in trainings.items() if self._goes_well(name, its.begin_epoch)}
            rows: dict[StackTraining, Rows] = {its: [None] * len(its.seeds) for its in begun.values()}
            try:
                self.groups = self._arranged(begun)
                for group in self.groups:
                    group.run(rows)
            except Exception as error:  # noqa: BLE001 - what is computed for all is everybody's
                self._found |= dict.fromkeys(begun, error)
                return
            for name, its in begun.items():
                if self._goes_well(name, its.end_epoch):
                    self._found[name] = rows[its]

    def _goes_well(self, name: str, part: Callable[[], None]) -> bool:
        """Do one training's own part of an epoch, and keep what it raises for it."""
        try:
            part()
        except Exception as error:  # noqa: BLE001 - raised again to whoever trains it
            self._found[name] = error
            return False
        return True

    def _arranged(self, trainings: Mapping[str, StackTraining]) -> list[Group]:
        """What is computed as one: stacks of equal structure. Empty places stand where most of the others are."""
        by_structure: dict[tuple[str, ...], dict[str, Stack]] = {}
        for name in self._sizes:
            for stack, _ in trainings[name].stacks if name in trainings else ():
                by_structure.setdefault(stack.structure, {})[name] = stack
        if not by_structure:
            return []
        largest = max(by_structure.values(), key=lambda some: sum(len(stack.members) for stack in some.values()))
        return [self._group(some, trainings, is_largest=some is largest) for some in by_structure.values()]

    def _group(
        self, some: Mapping[str, Stack], trainings: Mapping[str, StackTraining], *, is_largest: bool
    ) -> Group:
        for group in self.groups:
            if group.holds(list(some.values())):
                return group
        parts: dict[str, Stack | int] = {
            name: some.get(name, size)
            for name, size in self._sizes.items()
            if name in some or (is_largest and name not in trainings)
        }
        whole, places = joined(list(parts.values()))
        owns = [
            Own(trainings[name], part, its)
            for (name, part), its in zip(parts.items(), places, strict=True)
            if isinstance(part, Stack)
        ]
        return Group(whole, owns[0].training.program(whole), owns)
