"""The training of one stack: all replicates of a trial that share data order and split, epoch by epoch.

    training = StackTraining(spec, seeds, dataset, threads=2)
    while training.epoch < spec.training.epochs:
        rows = training.run_epoch()

An epoch that follows a due pruning begins with it: the row of epoch e describes the network before the cut after
epoch e, and a pruned training is its twin up to there, bit for bit. Nothing is reduced over replicates: losses,
clipping and divergence are each replicate's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

import rmt
from rmt.module_layers import places_of
from sweeps import measuring, models
from sweeps.data import Dataset
from sweeps.initialisations import initialise
from sweeps.seeds import Seeds
from sweeps.stack import Replica, Stack, regroup
from sweeps.stack_program import Program
from sweeps.stack_programs import program_for
from sweeps.status import Status
from sweeps.training_data import Examples, Held, TrainingData
from sweeps.training_epoch import EpochRow, Trained, run_alone
from sweeps.training_evaluation import BATCH, Evaluation, evaluate
from sweeps.training_measures import Measures
from sweeps.training_memory import require_memory, stack_bytes
from sweeps.training_outcome import Outcome, conclude, with_measures, without_test
from sweeps.training_pruning import Spectra, cut, measure, pruner_of
from sweeps.training_state import (
    State,
    pack_spectra,
    pack_stack,
    unpack_spectra,
    unpack_stack,
)
from sweeps.training_step import Stepper, all_finite, non_zeros, norms, penalties
from sweeps.trial_spec import TrialSpec

__all__ = ["EpochRow", "Outcome", "StackTraining", "State"]

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
        together: Whether replicates are computed as one stack; None: if that is the faster way.
        state: To continue from, of a training of the same replicates: this one's, or its twin's before any
            pruning. Without it, replicates are drawn.

    Attributes:
        epoch: Epochs done.
        stepper: Optimiser, schedule and penalties.
        together: Whether replicates are computed as one stack.

    Raises:
        SpecError: Split or batch do not fit the data set, or the stack does not fit into memory.
        ValueError: The seeds are not of one stack, or the state is of other replicates or of another way of
            computing them.
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
        state: State | None = None,
    ) -> None:
        if len({(one.data_order, one.split) for one in seeds}) != 1:
            raise ValueError("replicates of one stack share data order and split; these differ in them")
        self.spec = spec
        self.seeds = tuple(seeds)
        self.epoch = 0
        self._threads = threads
        self.use_threads()
        needed = stack_bytes(spec, dataset.shape, dataset.classes, len(seeds), dtype=dtype, together=together)
        require_memory(needed, device, len(seeds))
        self._data = TrainingData(spec, seeds[0], dataset, torch.device(device), dtype, workers=threads)
        self.stepper = Stepper.of(spec.training)
        with torch.random.fork_rng(devices=[]):  # torch's layers draw when they are made, and it is drawn anew,
            torch.default_generator.manual_seed(0)  # but a lone number that looks like a constant: always the same
            self._module = models.build(spec.model, dataset.shape, dataset.classes)
        self.together = models.stacks_well(self._module, device) if together is None else together
        self._places = places_of(self._module)
        self._parameters = sum(value.numel() for value in self._module.parameters())
        self._pruner = pruner_of(spec, [place.layer for place in self._places], self._parameters)
        self._memories = [rmt.Memory() for _ in seeds]
        self._spectra = [Spectra() for _ in seeds]
        self._ended: dict[int, tuple[Status, str]] = {}
        self._evaluated: dict[int, Evaluation] = {}
        self._measures = Measures(spec, self._module, self._data, len(seeds))
        if state is None:
            self._begin()
        else:
            self._continue(state)

    def use_threads(self) -> None:
        """The one place where threads are set: whoever computed in this process before may have set others."""
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _begin(self) -> None:
        """Draw the replicates, and record their spectra before any training."""
        shown = self._data.train.first(INITIALISATION_EXAMPLES).inputs.float().cpu()
        replicas = {number: self._draw(one, shown) for number, one in enumerate(self.seeds)}
        self._arrange(replicas)
        for number, replica in replicas.items():
            measure(replica, self._places, self.spec, 0, self._spectra[number])

    def _draw(self, seeds: Seeds, shown: Tensor) -> Replica:
        """A replicate's start: drawn in single precision on the CPU, whatever it is trained in."""
        initialise(self._module, self.spec.initialisation, seeds.generator("weights"), shown)

        def place(tensor: Tensor) -> Tensor:
            dtype = self._data.dtype if tensor.is_floating_point() else None
            return tensor.detach().clone().to(self._data.device, dtype)

        replica = Replica(
            {name: place(value) for name, value in self._module.named_parameters()},
            buffers={name: place(value) for name, value in self._module.named_buffers()},
        )
        self.stepper.open_slots(replica)
        return replica

    def _arrange(self, replicas: dict[int, Replica]) -> None:
        self._stacks = regroup(replicas, set(self._ended), together=self.together)
        self._programs = [self.program(stack) for stack in self._stacks]

    def program(self, stack: Stack) -> Program:
        """What computes a stack of this training's network."""
        return program_for(self._module, stack, compiler="inductor" if self.spec.training.compile else None)

    @property
    def stacks(self) -> list[tuple[Stack, Program]]:
        """What there is to compute, each stack with its program."""
        return list(zip(self._stacks, self._programs, strict=True))

    def run_epoch(self) -> list[EpochRow | None]:
        """Train one epoch, pruning before it where that is due.

        Returns:
            A row a replicate, in the order of the seeds; None for one that has ended, in this epoch or before.
        """
        return run_alone(self)

    def begin_epoch(self) -> None:
        """What comes before an epoch's steps: the measures of the start, and the pruning that is due."""
        if self.epoch == 0:
            self._measure_now()
        if self._pruner is not None and self.epoch in self._pruner.epochs_due:
            self._cut(self._pruner)
        self.epoch += 1
        self._evaluated = {}

    def end_epoch(self) -> None:
        """What comes after it: the measures that are asked for then."""
        self._measure_now()

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self._data.steps

    @property
    def validation(self) -> Held:
        """The validation examples."""
        return self._data.validation

    def batches(self) -> Iterator[Examples]:
        """The batches of the epoch; before each, torch's generator is seeded if the network draws while it trains.

        What it draws (dropout) depends on the data-order seed, the epoch and the step: replicates share it like
        their order.
        """
        if not models.draws(self._module):
            yield from self._data.batches(self.epoch)
            return
        seed = self.seeds[0].generator(f"dropout of epoch {self.epoch}", "data_order").initial_seed()
        with torch.random.fork_rng():
            for number, batch in enumerate(self._data.batches(self.epoch)):
                torch.manual_seed((seed + number) % 2**63)
                yield batch

    def end_diverged(self, stack: Stack, trained: Trained) -> None:
        """End the replicates whose loss or weights are no longer finite; they keep their place, at zero."""
        finite = torch.isfinite(trained.losses)
        known = torch.isfinite(norms(stack.values)).cpu()
        sound = finite.all(0) & known & all_finite(stack.buffers, len(stack.members))
        for place in sorted(set((~sound).nonzero().flatten().tolist()) - stack.frozen):
            wrong = (~finite[:, place]).nonzero().flatten()
            step = int(wrong[0]) + 1 if len(wrong) else len(finite)
            if len(wrong):
                what = f"the loss is {float(trained.losses[step - 1, place])}"
            else:
                what = f"a {'running statistic' if known[place] else 'weight'} is not finite"
            reason = f"{what} in epoch {self.epoch}, step {step} of {len(finite)}"
            self._ended[stack.members[place]] = (Status.DIVERGED, reason)
            stack.freeze(place)

    def rows(
        self, stack: Stack, trained: Trained, validation: Evaluation, evaluation_seconds: float
    ) -> dict[int, EpochRow]:
        """Rows by place in the stack, of those that go on."""
        examples, training = len(self._data.train), self.spec.training
        columns = {
            "train_loss": trained.losses.sum(0) / examples,
            "train_penalty": penalties(stack.values, training.l1, training.l2),
            "train_accuracy": trained.hits.double() / examples,
            "validation_loss": validation.losses,
            "validation_accuracy": validation.accuracies,
            "weight_norm": norms(stack.values),
            "non_zeros": non_zeros(stack.values),
            "dead_units": validation.dead_units,
            "classes_never_predicted": validation.never_predicted,
        }
        shared = {
            "learning_rate": self.stepper.rate(self.epoch - 1 + (self.steps - 0.5) / self.steps),
            "train_seconds": trained.seconds,
            "evaluation_seconds": evaluation_seconds,
        }
        if trained.gradient_norms is not None:
            columns["gradient_norm"] = trained.gradient_norms
        numbers = {name: column.tolist() for name, column in columns.items()}
        return {
            place: {name: column[place] for name, column in numbers.items()}
            | {"parameters_kept": stack.parameters(place) / self._parameters}
            | shared
            for place in range(len(stack.members))
            if place not in stack.frozen
        }

    def ended(self, r: int) -> tuple[Status, str] | None:
        """How and why a replicate ended before its time; None while it trains."""
        return self._ended.get(r)

    def outcome(self, r: int) -> Outcome:
        """What there is to record of a replicate as it is now."""
        self.use_threads()
        if r in self._ended:
            return with_measures(without_test(self._spectra[r]), measuring.Measured(), self._measures.earlier(r))
        position = next(i for i, stack in enumerate(self._stacks) if r in stack.members)
        stack = self._stacks[position]
        place = stack.members.index(r)
        replica = stack.take(place)
        measure(replica, self._places, self.spec, self.epoch, self._spectra[r])
        if position not in self._evaluated:
            test = self._data.test.split(BATCH)
            self._evaluated[position] = evaluate(stack, self._programs[position], test)
        outcome = conclude(replica, self._places, self._spectra[r], self._evaluated[position], place)
        return with_measures(outcome, self._measures.at_the_end(r, replica), self._measures.earlier(r))

    def _measure_now(self) -> None:
        """Take what `measures.at_epochs` asks for after this epoch, of the replicates that go on."""
        names = self._measures.due(self.epoch)
        if not names:
            return
        for r, replica in self._replicas().items():
            if r not in self._ended and not self._measures.are_taken(self.epoch, r):
                if measuring.RECORDED in names:
                    measure(replica, self._places, self.spec, self.epoch, self._spectra[r])
                self._measures.take(self.epoch, r, replica)

    def _replicas(self) -> dict[int, Replica]:
        return {member: stack.take(place) for stack in self._stacks for place, member in enumerate(stack.members)}

    def _cut(self, pruner: rmt.Pruner) -> None:
        replicas = self._replicas()
        living = [r for r in range(len(self.seeds)) if r not in self._ended]
        if not living:
            return
        before = self._measures.before_cut({r: replicas[r] for r in living})
        cut(
            pruner,
            self._places,
            [replicas[r] for r in living],
            [self._memories[r] for r in living],
            [self.seeds[r].generator(f"pruning after epoch {self.epoch}") for r in living],
            self.epoch,
            dict(self.stepper.optimiser.slots),
            [self._spectra[r] for r in living],
        )
        self._measures.after_cut(before, replicas)
        self._arrange(replicas)

    def state(self) -> State:
        """What it takes to continue from here, as copies."""
        about = {"epoch": self.epoch, "seeds": [one.document() for one in self.seeds], "together": self.together}
        measures = self._measures.state()
        packed = State(measures.tensors, about | measures.document)
        parts = {
            "stacks": [pack_stack(stack, f"stack{i}") for i, stack in enumerate(self._stacks)],
            "spectra": [pack_spectra(spectra, f"spectra{r}") for r, spectra in enumerate(self._spectra)],
        }
        for name, some in parts.items():
            packed.document[name] = [one.document for one in some]
            for one in some:
                packed.tensors.update(one.tensors)
        packed.document["noise"] = self.spec.prune.noise.model_dump()
        packed.document["memories"] = [memory.to_dict() for memory in self._memories]
        packed.document["ended"] = {str(r): [status.value, reason] for r, (status, reason) in self._ended.items()}
        return packed

    def _continue(self, state: State) -> None:
        """Stand where a training stood when it gave this state."""
        document = state.document
        seeds = tuple(map(Seeds.from_document, document["seeds"]))
        if seeds != self.seeds:
            raise ValueError(f"the state is of the replicates {seeds}; this training has {self.seeds}")
        if document["together"] != self.together:
            raise ValueError("the state is of replicates that were computed otherwise: as one, or one by one")
        self.epoch = int(document["epoch"])
        self._ended = {int(r): (Status(status), reason) for r, (status, reason) in document["ended"].items()}
        self._memories = [rmt.Memory.from_dict(plain) for plain in document["memories"]]
        self._spectra = [
            unpack_spectra(state, f"spectra{r}", about) for r, about in enumerate(document["spectra"])
        ]
        device = self._data.device
        self._measures.resume(state, device)
        self._stacks = [
            unpack_stack(state, f"stack{i}", about, device) for i, about in enumerate(document["stacks"])
        ]
        self._programs = [self.program(stack) for stack in self._stacks]
