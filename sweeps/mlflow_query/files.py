"""Files that runs hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from sweeps.mlflow_query.runs import REPLICATE
from sweeps.mlflow_query.store import Store, reading


def artifact(name: str, level: str, identity: str, file: str, uri: str | None = None) -> bytes | None:
    """Content of an artifact of one run of a sweep; None when the run holds none of that name.

    Args:
        name: Of the sweep.
        level: `sweep`, `trial` or `replicate`.
        identity: Name of the sweep, trial or replicate.
        file: Name of the artifact.
        uri: MLflow's address; without it `MLFLOW_TRACKING_URI`.

    Raises:
        SweepNotFound: The store has no such sweep or run.
        TrackingError: The store does not answer.
    """
    with reading(uri) as store:
        return _content(store, store.one(name, level, identity).info.artifact_uri, file)


def artifacts(name: str, replicates: Sequence[str], file: str, uri: str | None = None) -> Iterator[bytes | None]:
    """Content of an artifact of many replicates, in their order, without a search for each; see `artifact`."""
    with reading(uri) as store:
        runs = store.many.runs(store.experiment(name), REPLICATE)
        wanted = set(replicates)
        known = {run.identity: run.artifacts for run in runs if run.identity in wanted}
        for replicate in replicates:
            yield _content(store, known[replicate], file)


def _content(store: Store, place: str, file: str) -> bytes | None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # The client's own methods ask for the run again, twice.
    held = get_artifact_repository(place, tracking_uri=store.client.tracking_uri)
    if file not in {found.path for found in held.list_artifacts()}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return Path(held.download_artifacts(file, folder)).read_bytes()
