"""The training of one stack: all replicates of a trial that share data order and split, epoch by epoch.

    training = StackTraining(spec, seeds, dataset, threads=2)
    while training.epoch < spec.training.epochs:
        rows = training.run_epoch()

An epoch that follows a due pruning begins with it: the row of epoch e describes the network before the cut after
epoch e, and a pruned training is its twin up to there, bit for bit. Nothing is reduced over replicates: losses,
clipping and divergence are each replicate's own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

import rmt
from sweeps import models, training_pruning
from sweeps.data import Dataset
from sweeps.initialisations import initialise
from sweeps.seeds import Seeds
from sweeps.stack import Replica, Stack, regroup
from sweeps.stack_program import Program
from sweeps.stack_programs import program_for
from sweeps.status import Status
from sweeps.training_data import TrainingData
from sweeps.training_evaluation import Evaluation, evaluate
from sweeps.training_outcome import Outcome, conclude
from sweeps.training_pruning import Spectra, layers_of, parameters_kept, pruner_of
from sweeps.training_step import Stepper, norms, penalties
from sweeps.trial_spec import TrialSpec

EpochRow: TypeAlias = dict[str, float]

__all__ = ["EpochRow", "Outcome", "StackTraining"]

INITIALISATION_EXAMPLES = 256
"""How many training examples an initialisation that looks at activations is shown."""


class StackTraining:
    """All replicates of one stack of one trial; a single replicate goes through the same code.

    Args:
        spec: The configuration.
        seeds: One triple a replicate; data order and split are the same in all.
        dataset: What to train on.
        device: `cpu` or `cuda`.
        threads: CPU threads; set whenever this training computes, since processes are shared.
        dtype: Of weights and activations.
        together: Whether replicates are computed as one stack; None: if the architecture allows it.

    Attributes:
        epoch: Epochs done.

    Raises:
        SpecError: Split or batch do not fit the data set, or the seeds are not of one stack.
        ArchitectureMismatch: The architecture does not fit the data set.
    """

    def __init__(
        self,
        spec: TrialSpec,
        seeds: Sequence[Seeds],
        dataset: Dataset,
        *,
        device: str = "cpu",
        threads: int,
        dtype: torch.dtype = torch.float32,
        together: bool | None = None,
    ) -> None:
        if len({(one.data_order, one.split) for one in seeds}) != 1:
            raise ValueError("replicates of one stack share data order and split; these differ in them")
        self.spec = spec
        self.seeds = tuple(seeds)
        self.epoch = 0
        self._threads = threads
        self._use_threads()
        self._data = TrainingData(spec, seeds[0], dataset, torch.device(device), dtype)
        self._stepper = Stepper.of(spec.training)
        with torch.random.fork_rng(devices=[]):  # torch's layers draw when they are made; nothing of it is used
            self._module = models.build(spec.model, dataset.shape, dataset.classes)
        self._together = models.stackable(self._module) if together is None else together
        self._layers = layers_of(self._module)
        replicas = {number: self._draw(one) for number, one in enumerate(seeds)}
        self._parameters = parameters_kept(replicas[0])
        self._pruner = pruner_of(spec, self._layers, self._parameters)
        self._memories = [rmt.Memory() for _ in seeds]
        self._spectra = [Spectra() for _ in seeds]
        self._ended: dict[int, tuple[Status, str]] = {}
        self._arrange(replicas)
        self._measure()

    def _use_threads(self) -> None:
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _draw(self, seeds: Seeds) -> Replica:
        """A replicate's start: drawn in single precision on the CPU, whatever it is trained in."""
        inputs = self._data.train.inputs[:INITIALISATION_EXAMPLES].float().cpu()
        initialise(self._module, self.spec.initialisation, seeds.generator("weights"), inputs)

        def place(tensor: Tensor) -> Tensor:
            like = self._data.train.inputs
            return tensor.detach().clone().to(like.device, like.dtype if tensor.is_floating_point() else None)

        replica = Replica(
            {name: place(value) for name, value in self._module.named_parameters()},
            buffers={name: place(value) for name, value in self._module.named_buffers()},
        )
        self._stepper.open_slots(replica)
        return replica

    def _arrange(self, replicas: dict[int, Replica]) -> None:
        self._stacks = regroup(replicas, set(self._ended), together=self._together)
        self._programs = [program_for(self._module, stack) for stack in self._stacks]

    @property
    def _computed(self) -> list[tuple[Stack, Program]]:
        return list(zip(self._stacks, self._programs, strict=True))

    def run_epoch(self) -> list[EpochRow | None]:
        """Train one epoch, pruning before it where that is due.

        Returns:
            A row a replicate, in the order of the seeds; None for one that has ended, in this epoch or before.
        """
        self._use_threads()
        if self._pruner is not None and self.epoch in self._pruner.epochs_due:
            self._cut()
        rows: list[EpochRow | None] = [None] * len(self.seeds)
        for stack, program in self._computed:
            for number, row in zip(stack.members, self._run_stack(stack, program), strict=True):
                rows[number] = row
        self.epoch += 1
        if self.epoch == self.spec.training.epochs:
            self._measure()
        return rows

    def ended(self, r: int) -> tuple[Status, str] | None:
        """How and why a replicate ended before its time; None while it trains."""
        return self._ended.get(r)

    def outcome(self, r: int) -> Outcome:
        """What there is to record of a replicate as it is now."""
        self._use_threads()
        stack, program = next((s, p) for s, p in self._computed if r in s.members)
        place = stack.members.index(r)
        if r in self._ended:
            return Outcome.without_test(self._spectra[r])
        if self._spectra[r].epoch < self.epoch:
            training_pruning.measure(stack.take(place), self._layers, self.spec, self.epoch, self._spectra[r])
        examples = self._data.test
        evaluation = evaluate(stack, program, examples.inputs, examples.labels)
        return conclude(stack.take(place), self._layers, self._spectra[r], evaluation, place)

    def _cut(self) -> None:
        replicas = self._take_all()
        living = sorted(set(replicas) - set(self._ended))
        training_pruning.cut(
            self._pruner_in_use,
            [replicas[r] for r in living],
            [self._memories[r] for r in living],
            [self.seeds[r].generator(f"pruning after epoch {self.epoch}") for r in living],
            self.epoch,
            dict(self._stepper.optimiser.slots),
            [self._spectra[r] for r in living],
        )
        self._arrange(replicas)
