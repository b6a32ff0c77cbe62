"""What is measured of a training's replicates while it goes on, and the weights that some measures compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from sweeps import measuring
from sweeps.measuring import Measured, Weights
from sweeps.stack import Replica
from sweeps.training_data import TrainingData
from sweeps.training_state import State, pack_cut, unpack_cut
from sweeps.trial_spec import TrialSpec


class Measures:
    """Measures of each replicate of a stack, taken on validation examples.

    Args:
        spec: Says which measures, and when.
        module: The architecture, unpruned.
        data: Has the validation examples.
        replicates: How many there are.
    """

    def __init__(self, spec: TrialSpec, module: nn.Module, data: TrainingData, replicates: int) -> None:
        self._asked, self._module, self._data = spec.measures, module, data
        self._taken: list[dict[int, Measured]] = [{} for _ in range(replicates)]
        self._cuts: dict[int, tuple[Weights, Weights]] = {}

    def due(self, epoch: int) -> Sequence[str]:
        """What is asked for after this epoch."""
        return self._asked.at_epochs.get(epoch, [])

    def are_taken(self, epoch: int, r: int) -> bool:
        """Whether those of a replicate are there, as they are in a training that continues from after them."""
        return epoch in self._taken[r]

    def take(self, epoch: int, r: int, replica: Replica) -> None:
        """Take and keep what is asked for after this epoch."""
        self._taken[r][epoch] = self._of(self.due(epoch), r, replica)

    def earlier(self, r: int) -> Mapping[int, Measured]:
        """What has been taken of a replicate, by epoch."""
        return self._taken[r]

    def at_the_end(self, r: int, replica: Replica) -> Measured:
        """What is asked for of a replicate that has been trained."""
        return self._of(self._asked.end, r, replica)

    def _of(self, names: Sequence[str], r: int, replica: Replica) -> Measured:
        if not set(names) - {measuring.RECORDED}:
            return Measured()
        held_out = self._data.validation.first(measuring.EXAMPLES)
        return measuring.take(
            names,
            self._module,
            replica.tensors,
            inputs=held_out.inputs,
            labels=held_out.labels,
            cut=self._cuts.get(r),
        )

    def before_cut(self, replicas: Mapping[int, Replica]) -> Mapping[int, Weights]:
        """Copies of the weights that a pruning is about to change, where a measure compares them; else nothing."""
        if not measuring.compares_cuts(self._asked.names):
            return {}
        return {r: _copies(replica) for r, replica in replicas.items()}

    def after_cut(self, before: Mapping[int, Weights], replicas: Mapping[int, Replica]) -> None:
        """Keep the weights on both sides of the pruning, in place of those of the one before."""
        self._cuts = {r: (weights, _copies(replicas[r])) for r, weights in before.items()}

    def state(self) -> State:
        """What it takes to continue from here."""
        packed = State({}, {"cuts": sorted(self._cuts)})
        for r, weights in self._cuts.items():
            packed.tensors.update(pack_cut(weights, f"cut{r}"))
        packed.document["measured"] = [
            [taken.document(epoch) for epoch, taken in some.items()] for some in self._taken
        ]
        return packed

    def resume(self, state: State, device: torch.device) -> None:
        """Inverse of `state`."""
        self._taken = [
            {plain["epoch"]: Measured.from_document(plain) for plain in some}
            for some in state.document["measured"]
        ]
        self._cuts = {r: unpack_cut(state, f"cut{r}", device) for r in state.document["cuts"]}


def _copies(replica: Replica) -> Weights:
    return {name: value.clone() for name, value in replica.tensors.items()}
