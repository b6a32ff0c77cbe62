"""An MLflow store that is read: whether it answers, a sweep's experiment in it, and single runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepNotFound, TrackingError
from sweeps.mlflow_query.database import Database
from sweeps.mlflow_query.runs import Origin
from sweeps.mlflow_query.server import Server
from sweeps.tracking.client import Refused, Unavailable, failures_named, settings, without_password
from sweeps.tracking.store import check, database_path, store_uri
from sweeps.tracking.tree import require_owner

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class Store:
    """A store that answers.

    Attributes:
        address: Of the server or the database.
        client: MLflow's own, for single questions.
    """

    address: str
    client: MlflowClient

    @property
    def many(self) -> Origin:
        """Where many runs are read from."""
        is_server = self.address.startswith(("http://", "https://"))
        return Server(self.address, self.client) if is_server else Database(self.address)

    def experiment(self, name: str) -> str:
        """Id of a sweep's experiment.

        Raises:
            SweepNotFound: There is no such sweep; lists those there are.
        """
        found = self.client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "active" and "sweep_id" in found.tags:
            return str(found.experiment_id)
        known = sorted(e.name for e in self._experiments() if "sweep_id" in e.tags)
        raise SweepNotFound(f"no sweep {name!r} in this MLflow; there: {', '.join(known) or 'none'}")

    def _experiments(self) -> Iterator[Any]:
        token = None
        while True:
            page = self.client.search_experiments(page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def one(self, name: str, level: str, identity: str) -> Run:
        """One run of a sweep.

        Raises:
            SweepNotFound: There is no such sweep or run.
        """
        safe = identity.replace("'", "")  # no name of ours has a quote; one that is asked for might
        condition = f"tags.level = '{level}' and tags.identity = '{safe}'"
        found = self.client.search_runs([self.experiment(name)], condition, max_results=1)
        if not found:
            raise SweepNotFound(f"sweep {name!r} has no {level} {identity!r} in this MLflow")
        return found[0]


@contextmanager
def reading(uri: str | None) -> Iterator[Store]:
    """A store that answers, without MLflow's minutes of retries.

    Raises:
        TrackingError: It does not answer, or holds nothing.
    """
    address = store_uri(Path(), uri)
    path = database_path(address)
    if path is not None and not path.exists():
        raise TrackingError(f"there is no MLflow store at {path}; `sweeps sync NAME` makes it from the records")
    check(address)
    from mlflow import MlflowClient

    try:
        with settings(), failures_named():
            yield Store(address, MlflowClient(tracking_uri=address))
    except (Unavailable, Refused) as error:
        raise TrackingError(f"{without_password(address)} does not answer: {error}") from None


def experiment(name: str, uri: str | None = None) -> str:
    """Id of a sweep's experiment.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with reading(uri) as store:
        return store.experiment(name)


def experiment_tags(name: str, uri: str | None = None) -> dict[str, str]:
    """Tags of a sweep's experiment: its objective, and how many replicates are planned.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: The store does not answer.
    """
    with reading(uri) as store:
        return dict(store.client.get_experiment(store.experiment(name)).tags)


def require_own(name: str, owner: str, uri: str | None = None) -> None:
    """Refuse an experiment that a sweep of the same name in another storage has made.

    Args:
        name: Of the sweep.
        owner: Tells it from others of its name, see `sweeps.tracking.lag.identity`.
        uri: MLflow's address; without it `MLFLOW_TRACKING_URI`.

    Raises:
        SweepNotFound: The store has no such sweep; lists those it has.
        TrackingError: It is another's, or the store does not answer.
    """
    with reading(uri) as store:
        require_owner(store.address, store.client.get_experiment(store.experiment(name)), owner)


def tag(name: str, level: str, identity: str, key: str, uri: str | None = None) -> str | None:
    """A tag of one run of a sweep; None when it has none of that name."""
    with reading(uri) as store:
        found: str | None = store.one(name, level, identity).data.tags.get(key)
        return found


def run_id(name: str, level: str, identity: str, uri: str | None = None) -> str:
    """Id of one run of a sweep."""
    with reading(uri) as store:
        return str(store.one(name, level, identity).info.run_id)
