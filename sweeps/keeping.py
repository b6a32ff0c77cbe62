"""When a stack's training is saved, and where it begins: its own checkpoint, its family's, or from scratch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from sweeps import checkpoint, forks, storage
from sweeps.checkpoint import Checkpoint
from sweeps.layout import Stack
from sweeps.planned import PlannedTrial
from sweeps.spec_means import Checkpoints

log = logging.getLogger(__name__)


class Keeping:
    """The saved states of one stack of a trial.

    Args:
        planned: The trial.
        stack: One of its stacks.
        sweep: The sweep's folder.
        often: How often to save.
        fork_epochs: Epochs at which to save for the trial's siblings.
    """

    def __init__(
        self,
        planned: PlannedTrial,
        stack: Stack,
        sweep: Path,
        often: Checkpoints,
        fork_epochs: Collection[int],
    ) -> None:
        self.digest = checkpoint.digest_of(stack)
        self._planned = planned
        self._often = often
        self._fork_epochs = fork_epochs
        self._own = forks.own_folder(sweep, planned.trial_id, self.digest)
        self._forks = forks.folder_of(sweep, forks.family_of(planned), self.digest)
        self._saved_at, self._saved_epoch = time.monotonic(), 0

    def states(self) -> Iterator[Checkpoint]:
        """Usable states to begin from, latest first."""
        storage.refresh(self._forks)  # another worker's, on another node perhaps; the trial's own are here
        own = [(epoch, self._own, self._planned.trial_id) for epoch in checkpoint.epochs(self._own)]
        shared = [(epoch, self._forks, None) for epoch in forks.usable(self._forks, self._planned)]
        for epoch, folder, trial_id in sorted([*own, *shared], key=lambda place: place[0], reverse=True):
            found = checkpoint.read(folder, epoch, stack=self.digest, trial_id=trial_id)
            if found is not None:
                yield found

    def begin(self, epoch: int) -> None:
        """Say at which epoch training begins in this process."""
        self._saved_at, self._saved_epoch = time.monotonic(), epoch

    def after_epoch(self, epoch: int, take: Callable[[], Checkpoint]) -> None:
        """Save what is due after an epoch."""
        if epoch in self._fork_epochs:
            self._write(self._forks, take())
        if self._is_due(epoch):
            self.save(epoch, take)

    def _is_due(self, epoch: int) -> bool:
        minutes, epochs = self._often.minutes, self._often.epochs
        by_time = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        return by_time or (epochs is not None and epoch - self._saved_epoch >= epochs)

    def save(self, epoch: int, take: Callable[[], Checkpoint]) -> None:
        """Save the trial itself, in the place of what was saved of it before."""
        if epoch > self._saved_epoch and self._write(self._own, take()):
            checkpoint.remove_before(self._own, epoch)
        self.begin(
            epoch
        )  # where it could not be written, too: trying after each epoch would cost more than it saves

    @staticmethod
    def _write(folder: Path, state: Checkpoint) -> bool:
        try:
            checkpoint.write(folder, state)
        except OSError as error:
            log.warning("no checkpoint of epoch %d in %s: %s; training goes on", state.epoch, folder, error)
            return False
        return True

    def clear(self) -> None:
        """Delete the trial's own checkpoints: its members have their records."""
        storage.remove_folder(self._own)
