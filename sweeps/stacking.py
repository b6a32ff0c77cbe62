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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from sweeps import layout, models
from sweeps.errors import Problem, SpecError
from sweeps.models import Shape
from sweeps.stack import Replica, regroup
from sweeps.stack_programs import program_for
from sweeps.training_memory import memory_of, most_at_once, need_of
from sweeps.training_step import Stepper
from sweeps.trial_spec import TrialSpec

FOLDER = "stacking"
TURNS = 3
ENOUGH_SECONDS = 10.0


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
        path = self.sweep / FOLDER / f"{self._key(stack)}.json"
        if not path.exists():
            found = time_both(
                self.spec, self.shape, self.classes, replicates=len(stack.seeds), threads=stack.threads
            )
            _write_once(path, {"together": found.together, **asdict(found), **self._about(stack)})
        return bool(json.loads(path.read_text())["together"])

    def _is_open(self, device: str) -> bool:
        return models.may_stack_badly(self._module, device)

    @cached_property
    def _module(self) -> torch.nn.Module:
        with torch.device("meta"):
            return models.build(self.spec.model, self.shape, self.classes)

    def _about(self, stack: layout.Stack) -> dict[str, Any]:
        return {
            "model": self.spec.model.model_dump(mode="json"),
            "shape": list(self.shape),
            "classes": self.classes,
            "batch_size": self.spec.training.batch_size,
            "replicates": len(stack.seeds),
            "threads": stack.threads,
            "host": socket.gethostname(),
        }

    def _key(self, stack: layout.Stack) -> str:
        about = {name: value for name, value in self._about(stack).items() if name != "host"}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


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


def time_both(spec: TrialSpec, shape: Shape, classes: int, *, replicates: int, threads: int) -> Timing:
    """Time a training step as a stack and one by one, in turns; nothing of it is kept."""
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        module = models.build(spec.model, shape, classes)
        arms = {together: _arm(spec, module, shape, classes, replicates, together) for together in (True, False)}
        for step in arms.values():
            step()
        fastest = dict.fromkeys(arms, float("inf"))
        began = time.perf_counter()
        for turn in range(TURNS):
            if turn and time.perf_counter() - began > ENOUGH_SECONDS:
                break
            for together, step in arms.items():
                before = time.perf_counter()
                step()
                fastest[together] = min(fastest[together], time.perf_counter() - before)
    return Timing(fastest[True], fastest[False])


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
