"""What a trial returns, and how it becomes a record."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeps.planned import PlannedReplicate, PlannedTrial
from sweeps.status import Status
from sweeps.trial_spec import TrialSpec

if TYPE_CHECKING:
    from sweeps.training import Outcome


@dataclass(frozen=True)
class ReplicateResult:
    """What became of one replicate.

    Attributes:
        history: A row an epoch.
        outcome: Final metrics, layers, spectra and weights; None when an exception ended it.
        traceback: Of that exception.
        started: Milliseconds since 1970.
        ended: Milliseconds since 1970.
        away_seconds: Of the time in between, in which nobody trained it.
        resumed_at: Epochs at which a process went on where another had ended.
        forked_from: Trial and epoch it began from; None when it began from scratch.
    """

    replicate: PlannedReplicate
    status: Status
    reason: str
    history: tuple[Mapping[str, Any], ...]
    outcome: Outcome | None
    traceback: str | None
    started: int
    ended: int
    away_seconds: float = 0.0
    resumed_at: tuple[int, ...] = ()
    forked_from: Mapping[str, Any] | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers of the last epoch, and the final ones when there are any."""
        last = {k: v for k, v in self.history[-1].items() if k != "epoch"} if self.history else {}
        return last | (dict(self.outcome.metrics) if self.outcome else {})


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial: its configuration and each replicate."""

    trial_id: str
    spec: TrialSpec
    replicates: tuple[ReplicateResult, ...]


def record_of(
    planned: PlannedTrial, result: ReplicateResult, *, sweep: str | None, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """The document of `record.json`, digests and format apart."""
    outcome = result.outcome
    return {
        "sweep": sweep,
        "trial_id": planned.trial_id,
        "replicate_id": result.replicate.replicate_id,
        "status": result.status.value,
        "reason": result.reason,
        **({"traceback": result.traceback} if result.traceback else {}),
        "role": planned.role,
        "twin": planned.twin,
        "seeds": result.replicate.seeds.document(),
        "config": planned.spec.document(),
        "fingerprint": planned.fingerprint,
        "epochs": len(result.history),
        "metrics": result.metrics,
        "measures": dict(outcome.measures) if outcome else {},
        **({"measures_at": list(outcome.measures_at)} if outcome and outcome.measures_at else {}),
        "measure_seconds": outcome.measure_seconds if outcome else 0.0,
        "layers": list(outcome.layers) if outcome else [],
        "started": result.started,
        "ended": result.ended,
        "wall_seconds": (result.ended - result.started) / 1000 - result.away_seconds,
        **({"resumed_at": list(result.resumed_at)} if result.resumed_at else {}),
        **({"forked_from": dict(result.forked_from)} if result.forked_from else {}),
        "environment": dict(environment),
    }


def files_of(result: ReplicateResult) -> dict[str, bytes]:
    """Contents of the other files of a record."""
    return {} if result.outcome is None else contents_of(result.outcome)


def contents_of(outcome: Outcome) -> dict[str, bytes]:
    """Contents of the files of a replicate with this outcome."""
    import numpy as np
    from safetensors.torch import save

    spectra = io.BytesIO()
    arrays: dict[str, Any] = {"fits": np.array(json.dumps(list(outcome.fits))), **outcome.spectra}
    np.savez(spectra, **arrays)
    return {
        "spectra.npz": spectra.getvalue(),
        "test_correct.bin": np.packbits(outcome.test_correct).tobytes(),
        "weights.safetensors": save({k: v.detach().cpu().contiguous() for k, v in outcome.weights.items()}),
    }
