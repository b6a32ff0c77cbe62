"""Promoting a replicate: its pruned network goes to MLflow's model registry, with the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeps.networks import Classifier, Which, accuracy, choose
from sweeps.origin import Records, Source, origin_of

if TYPE_CHECKING:
    import os

    from sweeps.data import Dataset

TOLERANCE = 0.5  # examples: the same predictions, unless two outputs are equal to the last bits
BATCH = 1024
EXAMPLES = 2
"""How many go to the registry with the network, as an example of its inputs."""


@dataclass(frozen=True)
class Promoted:
    """A registered network.

    Attributes:
        address: `models:/MODEL/VERSION`, which `mlflow.pytorch.load_model` takes.
        trial_id: Its trial.
        replicate_id: Its replicate.
        evidence: What its tags say: interval, n, parameters kept, the replicate's own numbers.
    """

    address: str
    trial_id: str
    replicate_id: str
    evidence: dict[str, Any]


def promote(
    name: str,
    model: str,
    *,
    trial: str | None = None,
    replicate: Which = None,
    source: Source = "records",
    storage: str | os.PathLike[str] | None = None,
    uri: str | None = None,
) -> Promoted:
    """Register the pruned network of a replicate, normalisation included, in MLflow's registry.

    Args:
        name: Of the sweep.
        model: Name in the registry; each promotion is its next version.
        trial: Name of the trial or its beginning; by default the best one. Validation chooses.
        replicate: Its name, the beginning of it, or its number in the order of seeds; by default the one with the
            best objective.
        source: Where the weights are: `records` or `mlflow`.
        storage: Of the records, instead of `RMT_STORAGE` and `./sweeps-data`.
        uri: Of MLflow, instead of `MLFLOW_TRACKING_URI` and the store inside the storage.

    Raises:
        SweepNotFound: No such sweep, trial, replicate or weights, or its run is not in MLflow.
        StorageError: The network does not give its recorded accuracy here.
        TrackingError: MLflow does not answer, or its sweep of that name is of another storage.
    """
    from sweeps import mlflow_query
    from sweeps import storage as storages
    from sweeps.data import load
    from sweeps.errors import StorageError
    from sweeps.tracking.lag import identity
    from sweeps.tracking.promotion import register
    from sweeps.tracking.store import sweep_uri

    address = sweep_uri(storages.resolve(storage), name, uri)
    chosen = choose(origin_of(name, source, storage=storage, uri=uri), trial, replicate)
    if isinstance(chosen.origin, Records):  # replicates of equal configurations have equal names
        mlflow_query.require_own(name, identity(chosen.origin.folder), address)
    run = mlflow_query.run_id(name, "replicate", chosen.replicate[1], address)
    classifier = chosen.classifier()
    import numpy as np
    import torch

    dataset = load(chosen.spec.data)
    recorded, found = float(chosen.row["test_accuracy"]), _test_accuracy(classifier, dataset)
    if abs(found - recorded) * len(dataset.test_labels) > TOLERANCE:
        raise StorageError(
            f"replicate {chosen.replicate[1]} gives a test accuracy of {found:.6f} here and not the recorded "
            f"{recorded:.6f}; it is not promoted"
        )
    evidence = _evidence(chosen.origin, chosen.replicate[0], chosen.row, name)
    made = register(
        address,
        model,
        classifier,
        torch.from_numpy(dataset.test_inputs[np.arange(min(EXAMPLES, len(dataset.test_labels)))]),
        run=run,
        configuration=chosen.spec.document(),
        evidence=evidence,
    )
    return Promoted(made, *chosen.replicate, evidence)


def _test_accuracy(classifier: Classifier, dataset: Dataset) -> float:
    """Share of test examples classified rightly, some at a time: they may be on disk and many."""
    import numpy as np
    import torch

    from sweeps.data import read_here

    labels = torch.from_numpy(dataset.test_labels.copy())
    rows = np.arange(len(labels))
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    hits = 0.0
    for some, pixels in zip(batches, read_here(dataset.test_inputs, batches), strict=True):
        hits += accuracy(classifier, torch.from_numpy(pixels).float(), labels[some]) * len(some)
    return hits / len(labels)


def _evidence(origin: Any, trial: str, row: Any, name: str) -> dict[str, Any]:
    """What is known of the trial over its replicates, and of this one."""
    metric = origin.objective["metric"]
    table = origin.trials([metric]).set_index("trial_id").loc[trial]
    numbers = {
        f"trial.{column}": table[column]
        for one in (metric, "test_accuracy", "parameters_kept")
        for column in (f"{one}.mean", f"{one}.sd", f"{one}.ci_low", f"{one}.ci_high")
        if column in table and table[column] == table[column]
    }
    counts = {count: int(table[count]) for count in ("n", "n_diverged", "n_failed")}
    own = {key: row[key] for key in (metric, "test_accuracy", "parameters_kept", "parameters") if key in row}
    names = {"sweep": name, "trial": trial, "replicate": row["replicate_id"], "chosen_by": metric}
    return {**names, **counts, **{key: repr(float(value)) for key, value in (numbers | own).items()}}
