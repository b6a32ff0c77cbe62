"""One stack of a trial on its way: training, saving, and the recording of its members."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweeps import forks, layout, records
from sweeps.checkpoint import Checkpoint
from sweeps.environment import environment
from sweeps.errors import StorageUnusable, SweepError
from sweeps.keeping import Keeping
from sweeps.planned import PlannedReplicate, PlannedTrial
from sweeps.result import ReplicateResult, files_of, record_of
from sweeps.status import Status

if TYPE_CHECKING:
    from sweeps.data import Dataset
    from sweeps.training import StackTraining, State
    from sweeps.training_epoch import Beside

log = logging.getLogger(__name__)


@dataclass
class Member:
    """A replicate on its way.

    Attributes:
        recorder: None when nothing is written of it.
        is_recorded: Whether it has its final record and only trains along.
        history: Rows so far.
        result: How it ended.
    """

    replicate: PlannedReplicate
    recorder: records.Recorder | None
    is_recorded: bool
    history: list[dict[str, Any]] = field(default_factory=list)
    result: ReplicateResult | None = None

    def append(self, row: dict[str, Any]) -> None:
        """Add an epoch."""
        self.history.append(row)
        if self.recorder is not None:
            self.recorder.append(row)


class StackRun:
    """One stack of a trial.

    Args:
        planned: The trial.
        stack: Its layout.
        members: In the order of the stack.
        dataset: What to train on.
        started: Milliseconds since 1970.
        sweep: Name of the sweep.
        about: Of the machine, for the record.
        keeping: Its saved states; None when nothing is kept on disk.
        beside: What it is computed beside; None for nothing.
        share: Of the time of its process, while it trains.
    """

    def __init__(
        self,
        planned: PlannedTrial,
        stack: layout.Stack,
        members: list[Member],
        dataset: Dataset,
        started: int,
        sweep: str | None,
        about: Mapping[str, Any],
        keeping: Keeping | None,
        beside: Beside | None = None,
        share: float = 1.0,
    ) -> None:
        self.planned = planned
        self.stack = stack
        self.members = members
        self.dataset = dataset
        self.sweep = sweep
        self.about = about
        self._keeping = keeping
        self._beside, self._share = beside, share
        self._training: StackTraining | None = None
        self._begun = started
        self._origin: dict[str, Any] = {"started": started, "away_seconds": 0.0}
        self.epoch = 0

    @property
    def is_done(self) -> bool:
        """Whether every member has ended."""
        return all(member.result is not None for member in self.members)

    def open(self) -> None:
        """Make the training, and let it begin from the latest state there is."""
        if self._training is None and not self.is_done:
            try:
                self._training = self._continued() or self._training_from(None)
                self.epoch = self._training.epoch
                if self._beside is not None and self._training.together:
                    self._beside.enter(self.planned.trial_id, self._training)
            except StorageUnusable:
                raise  # there may be a state that can not be had now
            except Exception as error:  # noqa: BLE001 - whatever a configuration raises is that trial's result
                self._fail(error)

    def step(self) -> None:
        """Train one epoch and record who ended in it."""
        self.open()
        if self.is_done or self._training is None:
            return
        try:
            self._train(self._training)
        except StorageUnusable:
            raise  # not the configuration's doing, and nothing could be recorded of it
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _train(self, training: StackTraining) -> None:
        if self._beside is not None and training.together:
            rows = self._beside.run_epoch(self.planned.trial_id)
        else:
            rows = training.run_epoch()
        self.epoch = training.epoch
        for position, (member, row) in enumerate(zip(self.members, rows, strict=True)):
            if row is not None and member.result is None:
                member.append({"epoch": training.epoch, **row})
            ended = training.ended(position)
            if ended is not None and member.result is None:
                self._record(position, *ended)
        if training.epoch >= self.planned.spec.training.epochs:
            self.end(Status.FINISHED, "")
        if self._keeping is not None and not self.is_done:
            self._keeping.after_epoch(training.epoch, self._checkpoint)

    def _training_from(self, state: State | None) -> StackTraining:
        import torch

        from sweeps.training import StackTraining

        return StackTraining(
            self.planned.spec,
            self.stack.seeds,
            self.dataset,
            device=self.stack.device,
            threads=self.stack.threads,
            dtype=getattr(torch, self.stack.dtype),
            together=self.stack.together,
            state=state,
        )

    def _continued(self) -> StackTraining | None:
        """The training as it was saved last; None when there is no state that it can take."""
        for found in self._keeping.states() if self._keeping else ():
            is_own = found.trial_id == self.planned.trial_id
            try:
                training = self._training_from(found.state if is_own else self._adopted(found.state))
            except SweepError:
                raise  # it is the configuration's, and no other state helps
            except Exception as error:  # noqa: BLE001 - a state that can not be used must not end a trial
                log.warning("the state of %s, epoch %d, is left aside: %r", found.trial_id, found.epoch, error)
                continue
            self._go_on_from(found, is_own=is_own)
            return training
        return None

    def _adopted(self, state: State) -> State:
        noise = self.planned.spec.prune.noise.model_dump()
        return forks.adopt(state, noise, lambda: self._training_from(None).state())

    def _go_on_from(self, found: Checkpoint, *, is_own: bool) -> None:
        """Take over what was trained so far: histories, and where they come from."""
        for member, rows in zip(self.members, found.histories, strict=True):
            for row in rows:
                member.append(dict(row))
        if is_own:
            self._origin |= {
                "started": found.started,
                "away_seconds": found.away_seconds + (self._begun - found.written) / 1000,
                "resumed_at": (*found.resumed_at, found.epoch),
                "forked_from": found.forked_from,
            }
        else:
            self._origin["forked_from"] = {"trial_id": found.trial_id, "epoch": found.epoch}
        if self._keeping is not None:
            self._keeping.begin(found.epoch)

    def save(self) -> None:
        """Save the training as it is, unless it has not begun or has ended."""
        if self._keeping is None or self._training is None or self.is_done:
            return
        if (
            self._training.epoch == self.epoch
        ):  # else it has been trained further beside others, and has no rows of it
            self._keeping.save(self._training.epoch, self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        assert self._training is not None  # noqa: S101 - only what has begun is saved
        assert self._keeping is not None  # noqa: S101 - as above
        return Checkpoint(
            self.planned.trial_id,
            self._keeping.digest,
            self._training.epoch,
            self._training.state(),
            [member.history for member in self.members],
            written=_now(),
            **self._so_far,
        )

    @property
    def _so_far(self) -> dict[str, Any]:
        """Where the stack comes from; the time of the others that its process has trained is none of its own."""
        away = (1 - self._share) * (_now() - self._begun) / 1000
        return {**self._origin, "away_seconds": self._origin["away_seconds"] + away}

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
            member.replicate,
            status,
            reason,
            tuple(member.history),
            outcome,
            trace,
            ended=_now(),
            **self._so_far,
        )
        if member.recorder is not None:
            about = {**self.about, **environment()}
            record = record_of(self.planned, member.result, sweep=self.sweep, environment=about)
            # What the network is made for, so that it can be built again where the data is not.
            record["input"] = {"shape": list(self.dataset.shape), "classes": self.dataset.classes}
            member.recorder.finish(record, files_of(member.result))
        if self._keeping is not None and self._is_final:
            self._keeping.clear()
        if self.is_done:
            self._training = None  # with it go its memory, and the processes that read for it
            if self._beside is not None:
                self._beside.leave(self.planned.trial_id)

    @property
    def _is_final(self) -> bool:
        """Whether a launch would leave every member alone."""
        return all(m.is_recorded or (m.result is not None and m.result.status.is_final) for m in self.members)


def _now() -> int:
    return int(time.time() * 1000)
