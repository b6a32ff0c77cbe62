"""One trial: all replicates of a configuration, trained as stacks, reported by epoch, recorded as they end.

A replicate ends as `finished`, as `diverged` (the training says so and the others go on) or as `failed` (an
exception: its stack can not go on, the other stacks do). A trial with a folder is saved now and then, and begins
where it was saved, or its family's first trial was, before the first cut. Nothing here knows Ray or MLflow:

>>> result = run_trial(TrialSpec(), report=print)  # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sweeps import layout, records, storage
from sweeps.errors import GpuMissing, SweepError
from sweeps.keeping import Keeping
from sweeps.pack_run import Packs
from sweeps.planned import PlannedReplicate, PlannedTrial
from sweeps.result import TrialResult
from sweeps.seeds import Seeds, crossed
from sweeps.spec_means import Checkpoints
from sweeps.spec_replicates import Replicates
from sweeps.stack_run import Member, StackRun
from sweeps.status import Status
from sweeps.summary import summarise
from sweeps.trial_spec import TrialSpec

if TYPE_CHECKING:
    from sweeps.data import Dataset

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


class TrialRun:
    """A trial in progress. `step` trains one epoch of every stack and returns what there is to report.

    Args:
        planned: The trial.
        wanted: The replicates to record; others of their stacks are trained along.
        dataset: What to train on.
        threads: CPU threads, for stacks that have none yet.
        device: `cpu` or `cuda`, for stacks that have none yet.
        sweep: Folder of the sweep; without it nothing is kept on disk.
        node: Where it runs, for the record.
        most: Members of a stack that is not laid out yet; `auto` for as many as fit into memory.
        checkpoints: How often to save.
        fork_epochs: Epochs at which to save for siblings.
        pack: Trials that stacks which are not laid out yet are computed beside, this one among them.
        packs: What the process computes as one.
        share: Of the time of its process.

    Attributes:
        epoch: Epochs that all stacks which still train have done.
    """

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
        checkpoints: Checkpoints | None = None,
        fork_epochs: Collection[int] = (),
        pack: Sequence[str] = (),
        packs: Packs | None = None,
        share: float = 1.0,
    ) -> None:
        self.planned = planned
        self.dataset = dataset
        self.epoch = 0
        self.started = int(time.time() * 1000)
        self._sweep = sweep
        self._node = {"node": node} if node else {}
        self._most = most
        self._checkpoints = checkpoints or Checkpoints()
        self._fork_epochs = fork_epochs
        self._pack, self._packs, self._share = tuple(pack), packs or Packs(), share
        self._wanted = {replicate.replicate_id for replicate in wanted}
        self._stacks = [self._open(stack) for stack in self._layout(wanted, threads=threads, device=device)]

    def _layout(self, wanted: Sequence[PlannedReplicate], *, threads: int, device: str) -> list[layout.Stack]:
        from sweeps.stacking import Stacking

        stacking = Stacking(self.planned.spec, self.dataset.shape, self.dataset.classes, self._sweep)
        decide: Callable[[layout.Stack], bool | None] = stacking.together
        try:
            most = stacking.most(len(wanted), self._most, threads=threads, device=device)
        except (
            GpuMissing
        ):  # said and recorded once it is opened; settles nothing, since the next launch may have one
            return self._expected(wanted, threads=threads, device=device)
        except SweepError:  # it fits neither the data nor the memory, which is said and recorded once it is opened
            most, decide = 1, lambda stack: None
        if self._sweep is None:
            return layout.choose(wanted, threads=threads, device=device, most=most)
        folder = records.trial_folder(self._sweep, self.planned.trial_id)
        storage.write_json(folder / "trial.json", self.planned.document())
        return layout.settle(
            folder, wanted, threads=threads, device=device, most=most, decide=decide, pack=self._pack
        )

    def _expected(self, wanted: Sequence[PlannedReplicate], *, threads: int, device: str) -> list[layout.Stack]:
        if self._sweep is None:
            return layout.choose(wanted, threads=threads, device=device)
        folder = records.trial_folder(self._sweep, self.planned.trial_id)
        return layout.expected(folder, wanted, threads=threads, device=device)

    def _open(self, stack: layout.Stack) -> StackRun:
        members = [self._member(name, seeds) for name, seeds in zip(stack.members, stack.seeds, strict=True)]
        name = self._sweep.name if self._sweep else None
        about = {"device": stack.device, "threads": stack.threads, **self._node}
        return StackRun(
            self.planned,
            stack,
            members,
            self.dataset,
            self.started,
            name,
            about,
            self._keeping(stack),
            self._packs.of(stack),
            self._share,
        )

    def _keeping(self, stack: layout.Stack) -> Keeping | None:
        if self._sweep is None:
            return None
        return Keeping(self.planned, stack, self._sweep, self._checkpoints, self._fork_epochs)

    def _member(self, name: str, seeds: Seeds) -> Member:
        replicate = PlannedReplicate(name, seeds)
        if self._sweep is None or name not in self._wanted:
            # Trained again only because its stack is: what it has recorded stays as it is.
            return Member(replicate, None, is_recorded=name not in self._wanted)
        folder = records.replicate_folder(self._sweep, self.planned.trial_id, name)
        return Member(replicate, records.Recorder(folder), is_recorded=False)

    def step(self) -> dict[str, Any] | None:
        """Train one epoch; None when every replicate has ended."""
        if all(stack.is_done for stack in self._stacks):
            return None
        self.epoch = 1 + self.open()
        for stack in self._stacks:
            if stack.epoch < self.epoch:  # one that began from a later state waits for the others
                stack.step()
        histories = [member.history[: self.epoch] for member in self._members if member.history]
        return {"epoch": self.epoch, **summarise(histories)}

    def open(self) -> int:
        """Begin from what is saved, unless it has begun; returns the epoch that every stack has come to."""
        for stack in self._stacks:
            stack.open()
        return min((stack.epoch for stack in self._stacks if not stack.is_done), default=self.epoch)

    def save(self) -> None:
        """Save what still trains, to go on from there: the process is about to end."""
        for stack in self._stacks:
            stack.save()

    def stop(self, reason: str, status: Status = Status.STOPPED) -> None:
        """End every replicate that still trains, as `stopped` unless told; it is saved, since it may go on."""
        self.save()
        self.end(status, reason)

    def end(self, status: Status, reason: str) -> None:
        """Record every replicate that still trains as ended."""
        for stack in self._stacks:
            stack.end(status, reason)

    def settle(self) -> None:
        """Wait until everything recorded and saved is where other machines see it.

        Raises:
            StorageUnreachable: The store does not take it.
        """
        if self._sweep is not None:
            storage.settle(self._sweep)

    @property
    def _members(self) -> list[Member]:
        return [member for stack in self._stacks for member in stack.members]

    @property
    def result(self) -> TrialResult:
        """What has become of the replicates that were asked for and have ended."""
        ended = [m.result for m in self._members if m.result is not None and not m.is_recorded]
        return TrialResult(self.planned.trial_id, self.planned.spec, tuple(ended))
