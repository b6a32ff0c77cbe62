"""How a trial's replicates are stacked: how many fit into memory, and whether to compute them as one.

Overlapping convolutions may be slower as a stack than one by one on a CPU, by how much depends on the machine: a
few steps both ways tell. The answer is kept in the sweep's folder, so that every trial with the same shapes is
computed the same way, by any worker, at any later launch.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from sweeps import layout, models, storage
from sweeps.errors import Problem, SpecError
from sweeps.models import Shape
from sweeps.stack import Replica, Stack, joined, regroup
from sweeps.stack_programs import program_for
from sweeps.training_memory import memory_of, most_at_once, need_of
from sweeps.training_step import Part, Stepper, alike, step
from sweeps.trial_spec import TrialSpec

FOLDER = "stacking"
TURNS = 3
PACK_TURNS = 20
"""Steps of small trials take milliseconds, and scatter."""
ENOUGH_SECONDS = 10.0
LEAST_GAIN = 0.1
"""Of a pack, for which its trials are lost and go on together."""
PACKED_BYTES = 4 << 20
"""Weights of a trial's stack above which packing gains nothing: its products fill the machine by themselves."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one step of all replicates, the fastest of a few turns."""

    stack_seconds: float
    one_by_one_seconds: float

    @property
    def together(self) -> bool:
        """Whether the stack is not slower."""
        return self.stack_seconds <= self.one_by_one_seconds


@dataclass(frozen=True)
class Packing:
    """Seconds of one step of all trials of a pack, the fastest of a few turns."""

    pack_seconds: float
    apart_seconds: float

    @property
    def pays(self) -> bool:
        """Whether the pack is faster by more than such a timing is wrong."""
        return self.pack_seconds <= (1 - LEAST_GAIN) * self.apart_seconds


@dataclass(frozen=True)
class Stacking:
    """Decisions about the stacks of a trial.

    Attributes:
        spec: The trial.
        shape: Of an example.
        classes: Of the data set.
        sweep: Folder of the sweep; without it nothing is measured.
    """

    spec: TrialSpec
    shape: Shape
    classes: int
    sweep: Path | None = None

    def most(self, replicates: int, asked: int | Literal["auto"], *, threads: int, device: str) -> int:
        """Members of a stack, at most: as asked, or as many as fit into memory.

        Raises:
            SpecError: The trial does not fit into memory at all.
        """
        need = need_of(self.spec, self.shape, self.classes)
        fitting = most_at_once(need, replicates, threads=threads, device=device)
        return fitting if asked == "auto" else min(asked, replicates)

    def require(self, replicates: int, asked: int, *, fitting: int, device: str) -> None:
        """Refuse stacks, larger than `fitting`, that the whole memory could not hold if nothing else were in it.

        Raises:
            SpecError: Names what one needs, what there is, and what would fit.
        """
        # Where only a measurement will tell that it is computed as one, it may turn out to need less.
        together = False if self._is_open(device) else None
        asked, total = min(asked, replicates), memory_of(device)
        needed = need_of(self.spec, self.shape, self.classes, together=together).of(asked, at_once=asked)
        if needed > total:
            message = (
                f"{asked} replicates at once need {needed / 2**30:.1f} GiB, {device} has {total / 2**30:.1f} GiB; "
                f"allowed: 1 to {fitting}, or auto"
            )
            raise SpecError([Problem("resources.stack", message)])

    def together(self, stack: layout.Stack) -> bool | None:
        """Whether to compute a stack as one; None where nothing has to be measured to know."""
        if self.sweep is None or len(stack.seeds) == 1 or not self._is_open(stack.device):
            return None
        path = self.sweep / FOLDER / f"{_key(self._about(stack))}.json"
        storage.refresh_file(path)
        if not path.exists():
            found = time_both(
                self.spec, self.shape, self.classes, replicates=len(stack.seeds), threads=stack.threads
            )
            _write_once(path, {"together": found.together, **asdict(found), **self._about(stack)})
        return bool(json.loads(path.read_text())["together"])

    @property
    def is_stackable(self) -> bool:
        """Whether replicates of the architecture can be computed as one at all."""
        return models.stackable(self._module)

    def may_pack(self, replicates: int) -> bool:
        """Whether trials of so many replicates may gain by being computed as one on a CPU: small perceptrons."""
        weights = sum(parameter.numel() * parameter.element_size() for parameter in self._module.parameters())
        return models.stacks_well(self._module, "cpu") and replicates * weights <= PACKED_BYTES

    def packs_well(
        self, specs: Sequence[TrialSpec], replicates: int, *, threads: int, measure: bool = True
    ) -> bool | None:
        """Whether trials of this one's shapes are faster as a pack: measured once a sweep, where it is driven.

        Args:
            specs: The trials.
            replicates: Of each.
            threads: That they train with.
            measure: If false, None where it is not measured yet.
        """
        assert self.sweep is not None  # noqa: S101 - asked where a sweep is launched
        about = {
            **self._shapes,
            "replicates": replicates,
            "threads": threads,
            "optimisers": sorted({spec.training.optimiser.kind for spec in specs}),
            "trials": len(specs),
            "updated_apart": len({spec.training.model_dump_json() for spec in specs}),
        }
        path = self.sweep / FOLDER / f"pack-{_key(about)}.json"
        storage.refresh_file(path)
        if not path.exists() and not measure:
            return None
        if not path.exists():
            found = time_pack(specs, self.shape, self.classes, replicates=replicates, threads=threads)
            _write_once(path, {"pays": found.pays, **asdict(found), **about, "host": socket.gethostname()})
        return bool(json.loads(path.read_text())["pays"])

    def _is_open(self, device: str) -> bool:
        return models.may_stack_badly(self._module, device)

    @cached_property
    def _module(self) -> torch.nn.Module:
        with torch.device("meta"):
            return models.build(self.spec.model, self.shape, self.classes)

    def _about(self, stack: layout.Stack) -> dict[str, Any]:
        return {
            **self._shapes,
            "replicates": len(stack.seeds),
            "threads": stack.threads,
            "host": socket.gethostname(),
        }

    @property
    def _shapes(self) -> dict[str, Any]:
        return {
            "model": self.spec.model.model_dump(mode="json"),
            "shape": list(self.shape),
            "classes": self.classes,
            "batch_size": self.spec.training.batch_size,
        }


def _key(about: Mapping[str, Any]) -> str:
    """The same for the same shapes on any machine."""
    plain = {name: value for name, value in about.items() if name != "host"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def _write_once(path: Path, plain: dict[str, Any]) -> None:
    """Write a document unless another worker was faster: the first one counts for all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(json.dumps(plain, indent=1) + "\n")
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    storage.publish(path)


def time_both(spec: TrialSpec, shape: Shape, classes: int, *, replicates: int, threads: int) -> Timing:
    """Time a training step as a stack and one by one, in turns; nothing of it is kept."""
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        module = models.build(spec.model, shape, classes)
        arms = [_arm(spec, module, shape, classes, replicates, together) for together in (True, False)]
        return Timing(*_fastest(arms, TURNS))


def time_pack(specs: Sequence[TrialSpec], shape: Shape, classes: int, *, replicates: int, threads: int) -> Packing:
    """Time a training step of trials as a pack and one trial after another, in turns; nothing of it is kept."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            module = models.build(specs[0].model, shape, classes)
            arms = [_pack(specs, module, shape, classes, replicates, packed) for packed in (True, False)]
            return Packing(*_fastest(arms, PACK_TURNS))
    finally:
        torch.set_num_threads(before)


def _fastest(arms: Sequence[Callable[[], None]], turns: int) -> list[float]:
    """Seconds of each arm's fastest turn, the first of all left out."""
    for arm in arms:
        arm()
    fastest = [float("inf")] * len(arms)
    began = time.perf_counter()
    for turn in range(turns):
        if turn and time.perf_counter() - began > ENOUGH_SECONDS:
            break
        for number, arm in enumerate(arms):
            before = time.perf_counter()
            arm()
            fastest[number] = min(fastest[number], time.perf_counter() - before)
    return fastest


def _pack(
    specs: Sequence[TrialSpec], module: torch.nn.Module, shape: Shape, classes: int, replicates: int, packed: bool
) -> Callable[[], None]:
    """A step of all trials on a batch of noise."""
    steppers = [Stepper.of(spec.training) for spec in specs]
    stacks = [regroup({n: _replica(module, one) for n in range(replicates)}, set())[0] for one in steppers]
    work: list[tuple[Stack, list[tuple[slice, Stepper]]]]
    if packed:
        whole, places = joined(stacks)
        work = [(whole, alike(zip(places, steppers, strict=True), len(whole.members)))]
    else:
        own = slice(0, replicates)
        work = [(stack, [(own, stepper)]) for stack, stepper in zip(stacks, steppers, strict=True)]
    programs = [program_for(module, stack) for stack, _ in work]
    inputs = torch.randn(specs[0].training.batch_size, *shape)
    labels = torch.arange(specs[0].training.batch_size) % classes

    def one_step() -> None:
        for (stack, updated), program in zip(work, programs, strict=True):
            step(stack, program, inputs, labels, [Part(*some, 1e-6) for some in updated], number=1)

    return one_step


def _arm(
    spec: TrialSpec, module: torch.nn.Module, shape: Shape, classes: int, replicates: int, together: bool
) -> Callable[[], None]:
    """A step of all replicates on a batch of noise."""
    stepper = Stepper.of(spec.training)
    replicas = {number: _replica(module, stepper) for number in range(replicates)}
    stacks = regroup(replicas, set(), together=together)
    programs = [program_for(module, stack) for stack in stacks]
    inputs = torch.randn(spec.training.batch_size, *shape)
    labels = torch.arange(spec.training.batch_size) % classes

    def step() -> None:
        for stack, program in zip(stacks, programs, strict=True):
            stepper.step(stack, program, inputs, labels, rate=1e-6, number=1)

    return step


def _replica(module: torch.nn.Module, stepper: Stepper) -> Replica:
    replica = Replica(
        {name: value.detach().clone() for name, value in module.named_parameters()},
        buffers={name: value.detach().clone() for name, value in module.named_buffers()},
    )
    stepper.open_slots(replica)
    return replica
