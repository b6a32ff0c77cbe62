"""One trial: all replicates of a configuration, trained as stacks, reported by epoch, recorded as they end.

A replicate ends as `finished`, as `diverged` (the training says so and the others go on) or as `failed` (an
exception: its stack can not go on, the other stacks do). Nothing here knows Ray or MLflow:

>>> result = run_trial(TrialSpec(), report=print)  # doctest: +SKIP
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sweeps import layout, records, storage
from sweeps.environment import environment
from sweeps.errors import SweepError
from sweeps.planning import PlannedReplicate, PlannedTrial
from sweeps.result import ReplicateResult, TrialResult, files_of, record_of
from sweeps.seeds import Seeds, crossed
from sweeps.spec import Replicates
from sweeps.status import Status
from sweeps.summary import summarise
from sweeps.trial_spec import TrialSpec

if TYPE_CHECKING:
    from sweeps.data import Dataset
    from sweeps.training import StackTraining

Report = Callable[[Mapping[str, Any]], None]


def run_trial(
    spec: TrialSpec,
    report: Report = print,
    *,
    seeds: Sequence[Seeds] | int = 5,
    dataset: Dataset | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> TrialResult:
    """Train one configuration with all its replicates in this process, keeping nothing on disk.

    Args:
        spec: The configuration.
        report: Called after each epoch with the epoch and the statistics over replicates.
        seeds: The replicates, or their number.
        dataset: Loaded from `spec.data` when not given.
        threads: CPU threads.
        device: `cpu` or `cuda`.

    Returns:
        What became of each replicate: status, reason, history, final metrics.
    """
    from sweeps.data import load
    from sweeps.planning import plan_trial

    chosen = crossed(Replicates(initialisation=seeds)) if isinstance(seeds, int) else list(seeds)
    dataset = dataset or load(spec.data)
    planned = plan_trial(spec, {}, dataset.fingerprint, chosen)
    run = TrialRun(planned, planned.replicates, dataset, threads=threads, device=device)
    while (row := run.step()) is not None:
        report(row)
    return run.result


@dataclass
class _Member:
    """A replicate on its way."""

    replicate: PlannedReplicate
    recorder: records.Recorder | None
    is_recorded: bool
    history: list[dict[str, Any]] = field(default_factory=list)
    result: ReplicateResult | None = None


class TrialRun:
    """A trial in progress. `step` trains one epoch of every stack and returns what there is to report."""

    def __init__(
        self,
        planned: PlannedTrial,
        wanted: Sequence[PlannedReplicate],
        dataset: Dataset,
        *,
        threads: int = 1,
        device: str = "cpu",
        sweep: Path | None = None,
        node: str | None = None,
        most: int | Literal["auto"] = "auto",
    ) -> None:
        self.planned = planned
        self.dataset = dataset
        self.epoch = 0
        self.started = int(time.time() * 1000)
        self._sweep = sweep
        self._node = {"node": node} if node else {}
        self._most = most
        self._wanted = {replicate.replicate_id for replicate in wanted}
        self._stacks = [self._open(stack) for stack in self._layout(wanted, threads=threads, device=device)]

    def _layout(self, wanted: Sequence[PlannedReplicate], *, threads: int, device: str) -> list[layout.Stack]:
        from sweeps.stacking import Stacking

        stacking = Stacking(self.planned.spec, self.dataset.shape, self.dataset.classes, self._sweep)
        decide: Callable[[layout.Stack], bool | None] = stacking.together
        try:
            most = stacking.most(len(wanted), self._most, threads=threads, device=device)
        except SweepError:  # it fits neither the data nor the memory, which is said and recorded once it is opened
            most, decide = 1, lambda stack: None
        if self._sweep is None:
            return layout.choose(wanted, threads=threads, device=device, most=most)
        folder = records.trial_folder(self._sweep, self.planned.trial_id)
        storage.write_json(folder / "trial.json", self.planned.document())
        return layout.settle(folder, wanted, threads=threads, device=device, most=most, decide=decide)

    def _open(self, stack: layout.Stack) -> _StackRun:
        members = [self._member(name, seeds) for name, seeds in zip(stack.members, stack.seeds, strict=True)]
        return _StackRun(self.planned, stack, members, self.dataset, self.started, self._sweep_name, self._node)

    @property
    def _sweep_name(self) -> str | None:
        return self._sweep.name if self._sweep else None

    def _member(self, name: str, seeds: Seeds) -> _Member:
        replicate = PlannedReplicate(name, seeds)
        if self._sweep is None or name not in self._wanted:
            # Trained again only because its stack is: what it has recorded stays as it is.
            return _Member(replicate, None, is_recorded=name not in self._wanted)
        folder = records.replicate_folder(self._sweep, self.planned.trial_id, name)
        return _Member(replicate, records.Recorder(folder), is_recorded=False)

    def step(self) -> dict[str, Any] | None:
        """Train one epoch; None when every replicate has ended."""
        if all(stack.is_done for stack in self._stacks):
            return None
        for stack in self._stacks:
            stack.step()
        self.epoch += 1
        return {"epoch": self.epoch, **summarise([m.history for m in self._members if m.history])}

    def stop(self, reason: str) -> None:
        """End every replicate that still trains as `stopped`."""
        for stack in self._stacks:
            stack.end(Status.STOPPED, reason)

    @property
    def _members(self) -> list[_Member]:
        return [member for stack in self._stacks for member in stack.members]

    @property
    def result(self) -> TrialResult:
        """What has become of the replicates that were asked for and have ended."""
        ended = [m.result for m in self._members if m.result is not None and not m.is_recorded]
        return TrialResult(self.planned.trial_id, self.planned.spec, tuple(ended))


class _StackRun:
    """One stack of a trial: training, and the recording of its members."""

    def __init__(
        self,
        planned: PlannedTrial,
        stack: layout.Stack,
        members: list[_Member],
        dataset: Dataset,
        started: int,
        sweep: str | None,
        place: Mapping[str, str],
    ) -> None:
        self.planned = planned
        self.stack = stack
        self.members = members
        self.dataset = dataset
        self.started = started
        self.sweep = sweep
        self.place = place
        self._training: StackTraining | None = None

    @property
    def is_done(self) -> bool:
        return all(member.result is not None for member in self.members)

    def step(self) -> None:
        """Train one epoch and record who ended in it."""
        if self.is_done:
            return
        try:
            self._train()
        except Exception as error:  # noqa: BLE001 - whatever a configuration raises is that trial's result
            self._fail(error)

    def _train(self) -> None:
        training = self._open()
        rows = training.run_epoch()
        for position, (member, row) in enumerate(zip(self.members, rows, strict=True)):
            if row is not None and member.result is None:
                self._append(member, row)
            ended = training.ended(position)
            if ended is not None and member.result is None:
                self._record(position, *ended)
        if training.epoch >= self.planned.spec.training.epochs:
            self.end(Status.FINISHED, "")

    def _open(self) -> StackTraining:
        import torch

        from sweeps.training import StackTraining

        if self._training is None:
            self._training = StackTraining(
                self.planned.spec,
                self.stack.seeds,
                self.dataset,
                device=self.stack.device,
                threads=self.stack.threads,
                dtype=getattr(torch, self.stack.dtype),
                together=self.stack.together,
            )
        return self._training

    def _append(self, member: _Member, row: Mapping[str, Any]) -> None:
        line = {"epoch": self._open().epoch, **row}
        member.history.append(line)
        if member.recorder is not None:
            member.recorder.append(line)

    def end(self, status: Status, reason: str) -> None:
        """End every member that still trains."""
        for position, member in enumerate(self.members):
            if member.result is None:
                self._record(position, status, reason)

    def _fail(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error))
        for position, member in enumerate(self.members):
            if member.result is None:
                self._record(position, Status.FAILED, reason, trace)

    def _record(self, position: int, status: Status, reason: str, trace: str | None = None) -> None:
        member = self.members[position]
        outcome = self._training.outcome(position) if self._training and status is not Status.FAILED else None
        member.result = ReplicateResult(
            member.replicate, status, reason, tuple(member.history), outcome, trace, self.started, _now()
        )
        if member.recorder is not None:
            about = {"device": self.stack.device, "threads": self.stack.threads, **self.place, **environment()}
            record = record_of(self.planned, member.result, sweep=self.sweep, environment=about)
            # What the network is made for, so that it can be built again where the data is not.
            record["input"] = {"shape": list(self.dataset.shape), "classes": self.dataset.classes}
            member.recorder.finish(record, files_of(member.result))


def _now() -> int:
    return int(time.time() * 1000)
