"""What a training leaves of one replicate: final numbers, test correctness, layers, spectra, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rmt import Factors, parameters
from rmt.module_layers import Place
from sweeps.measuring import Measured
from sweeps.stack import Replica
from sweeps.training_evaluation import Evaluation
from sweeps.training_pruning import Spectra, key_of, weight_of

FROM_FIT = ("spikes", "edge", "threshold", "distance")


@dataclass(frozen=True)
class Outcome:
    """One replicate's contribution to its record.

    Attributes:
        metrics: Final numbers beside those of the last epoch's row.
        measures: By name, what `measures.end` asks for.
        measures_at: What `measures.at_epochs` asks for, an entry an epoch: epoch, network, layers, seconds.
        measure_seconds: What all measures took.
        test_correct: (test example,) whether it was classified rightly; empty for a replicate that diverged.
        layers: A row a layer: shape, rank, parameters, the last fit, and what the last pruning decided.
        spectra: float64 singular values, descending, under `LAYER/EPOCH/singular_values`.
        fits: A row a layer and epoch.
        weights: Parameters by name; of a factored layer `NAME.left` and `NAME.right`. Empty after divergence.
    """

    metrics: Mapping[str, float]
    measures: Mapping[str, float]
    test_correct: NDArray[np.bool_]
    layers: Sequence[Mapping[str, Any]]
    spectra: Mapping[str, NDArray[np.float64]]
    fits: Sequence[Mapping[str, Any]]
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    measures_at: Sequence[Mapping[str, Any]] = ()
    measure_seconds: float = 0.0


def without_test(spectra: Spectra) -> Outcome:
    """The outcome of a replicate that diverged: no weights to test, only the spectra it had."""
    return Outcome({}, {}, np.zeros(0, dtype=np.bool_), [], dict(spectra.values), list(spectra.fits))


def conclude(
    replica: Replica, places: Sequence[Place], spectra: Spectra, evaluation: Evaluation, place: int
) -> Outcome:
    """The outcome of a replicate with the test evaluation of its stack, in which it has `place`."""
    correct = evaluation.correct[place].cpu().numpy()
    metrics = {
        "test_accuracy": float(correct.mean()),
        "test_loss": float(evaluation.losses[place]),
        "test_examples": float(len(correct)),
        "test_classes_never_predicted": float(evaluation.never_predicted[place]),
        "parameters": float(replica.parameters),
    }
    return Outcome(
        metrics,
        {},
        correct,
        [_row(replica, place, spectra) for place in places],
        dict(spectra.values),
        list(spectra.fits),
        {name: value.cpu() for name, value in replica.tensors.items()},
    )


def with_measures(outcome: Outcome, measured: Measured, earlier: Mapping[int, Measured]) -> Outcome:
    """The outcome with the measures that were asked for.

    Args:
        outcome: Without measures.
        measured: At the end: of the network, and for each layer's row.
        earlier: By epoch, those that were taken on the way.
    """
    return replace(
        outcome,
        measures=measured.network,
        layers=[{**row, **measured.layers.get(row["name"], {})} for row in outcome.layers],
        measures_at=[taken.document(epoch) for epoch, taken in sorted(earlier.items())],
        measure_seconds=measured.seconds + sum(taken.seconds for taken in earlier.values()),
    )


def _row(replica: Replica, place: Place, spectra: Spectra) -> dict[str, Any]:
    layer = place.layer
    fit, decision = spectra.last(layer.name), spectra.last_decision(layer.name)
    return {
        "name": layer.name,
        "rows": layer.rows,
        "cols": layer.cols,
        "rank": fit["rank"],
        "factored": replica.rank(place.part) is not None,
        "parameters": _parameters(replica, place),
        **{key: fit[key] for key in FROM_FIT},
        "status": decision["status"],
        "reason": decision["reason"],
    }


def _parameters(replica: Replica, place: Place) -> int:
    """Parameters left of one matrix: all entries but the masked ones."""
    weight = weight_of(replica, place)
    if isinstance(weight, Factors):
        return parameters(weight)
    mask = replica.masks.get(key_of(place))
    return weight.numel() if mask is None else int(mask.flatten(1)[place.rows].sum())
