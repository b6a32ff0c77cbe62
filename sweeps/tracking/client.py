"""The MLflow client as the projection uses it: no retries, no cutting, paged searches, two kinds of failure.

MLflow's own retries are off because a create that timed out may have happened: sent again it makes a second run.
So every failure comes up here, and whoever catches it looks before it creates again.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

    from sweeps.mlflow_query.runs import Run as Read

METRICS_PER_BATCH = 1000
PARAMETERS_PER_BATCH = 100
TAGS_PER_BATCH = 100
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # which would ask a host on the internet
}
REQUEST_TIMEOUT_SECONDS = 30
DIGEST_LENGTH = 36  # what MLflow holds of a data set's digest
_NOT_NOW = frozenset({401, 403, 408, 429})


class Unavailable(TrackingError):
    """The server can not take it now: down, slow, erring, or not letting us in. Later it may."""


class Refused(TrackingError):
    """The server will not take this, however often it is sent."""


class Gone(Refused):
    """The experiment or run that was written to is not there any more."""


class Point(NamedTuple):
    """One row of a metric, with the timestamp (ms) it was measured at."""

    name: str
    value: float
    time: int
    step: int


@contextmanager
def settings() -> Iterator[None]:
    """MLflow's settings for as long as we write; what the caller had set comes back after."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_TIMEOUT_SECONDS))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def without_password(text: str) -> str:
    """A text without what stands between `//` and `@` in the addresses it mentions."""
    return re.sub(r"//[^/\s@]+@", "//", text)


@contextmanager
def failures_named() -> Iterator[None]:
    """MLflow's exceptions as ours.

    Raises:
        Unavailable: The store does not answer, errs, or does not let us in.
        Refused: It will not take what was sent.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        raise _named(error) from error
    except (RequestException, SQLAlchemyError, OSError) as error:
        raise Unavailable(_first_line(error)) from error


def _named(error: Any) -> TrackingError:
    message = _first_line(error)
    status = error.get_http_status_code()
    if error.error_code == "RESOURCE_DOES_NOT_EXIST":
        return Gone(message)
    if status >= 500 or status in _NOT_NOW or error.error_code == "ENDPOINT_NOT_FOUND":
        return Unavailable(message)
    return Refused(message)


def _first_line(error: BaseException) -> str:
    """The cause, without the layers of wrapping that a connection's failure comes in."""
    text = without_password(str(error)).strip() or type(error).__name__
    _, _, cause = text.rpartition("Caused by ")
    return cause.splitlines()[0][:500]


class Client:
    """Writes to one MLflow store.

    Raises:
        Unavailable: From every method, when the store does not answer or errs.
        Refused: From every method, when the store will not take what was sent.
    """

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        self.uri = uri
        self._places: dict[str, str] = {}  # of the artifacts of runs made here, or MLflow would ask for each run
        with failures_named():
            self._client = MlflowClient(tracking_uri=uri)

    def answers(self) -> bool:
        """Whether the store answers a small question."""
        try:
            with failures_named():
                self._client.search_experiments(max_results=1)
        except Unavailable:
            return False
        return True

    def experiment(self, name: str) -> Experiment | None:
        """The experiment of that name, deleted or not."""
        with failures_named():
            return self._client.get_experiment_by_name(name)

    def create_experiment(self, name: str, artifacts: str | None, tags: Mapping[str, str]) -> str:
        """Make an experiment; one that another process made meanwhile will do.

        Args:
            name: Its name.
            artifacts: Where its artifacts go; None leaves it to the server.
            tags: Its tags.
        """
        with failures_named():
            return str(self._client.create_experiment(name, artifact_location=artifacts, tags=dict(tags)))

    def restore_experiment(self, experiment: str) -> None:
        """Take a deleted experiment back, with the runs that were deleted with it."""
        with failures_named():
            self._client.restore_experiment(experiment)

    def retire_experiment(self, experiment: str, name: str) -> None:
        """Delete an experiment and give its name free. MLflow keeps it, restorable, under the new name."""
        with failures_named():
            self._client.rename_experiment(experiment, name)
            self._client.delete_experiment(experiment)

    def tag_experiment(self, experiment: str, tags: Mapping[str, str]) -> None:
        """Set tags of an experiment."""
        with failures_named():
            for key, value in tags.items():
                self._client.set_experiment_tag(experiment, key, value)

    def runs(self, experiment: str, condition: str) -> Iterator[Run]:
        """All active runs that meet a condition, oldest first, however many pages there are."""
        token: str | None = None
        while True:
            with failures_named():
                page = self._client.search_runs(
                    [experiment],
                    condition,
                    max_results=1000,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
            yield from page
            token = page.token
            if not token:
                return

    def trials(self, experiment: str) -> list[Read]:
        """All active runs of trials, as they are read in bulk."""
        from sweeps.mlflow_query.runs import TRIAL
        from sweeps.mlflow_query.store import Store

        with failures_named():
            return list(Store(self.uri, self._client).many.runs(experiment, TRIAL))

    def create_run(self, experiment: str, name: str, start: int, tags: Mapping[str, str]) -> str:
        """Make a run. After a failure it may exist all the same: look before trying again."""
        with failures_named():
            run = self._client.create_run(experiment, start_time=start, tags=dict(tags), run_name=name)
            made = str(run.info.run_id)
            self._places[made] = str(run.info.artifact_uri)
            return made

    def log(
        self,
        run: str,
        *,
        points: Sequence[Point] = (),
        parameters: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log in as few requests as the limits allow. Sending the same again changes nothing."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(p.name, p.value, p.time, p.step) for p in points]
        params = [Param(key, value) for key, value in (parameters or {}).items()]
        labels = [RunTag(key, value) for key, value in (tags or {}).items()]
        while metrics or params or labels:
            now_params, params = params[:PARAMETERS_PER_BATCH], params[PARAMETERS_PER_BATCH:]
            now_labels, labels = labels[:TAGS_PER_BATCH], labels[TAGS_PER_BATCH:]
            room = METRICS_PER_BATCH - len(now_params) - len(now_labels)
            now_metrics, metrics = metrics[:room], metrics[room:]
            with failures_named():
                self._client.log_batch(run, now_metrics, now_params, now_labels)

    def set_state(self, run: str, status: str, end: int | None = None) -> None:
        """Set MLflow's own status: RUNNING, FINISHED, FAILED or KILLED, the latter three with their time."""
        with failures_named():
            if status == "RUNNING":
                self._client.update_run(run, status)
            else:
                self._client.set_terminated(run, status, end_time=end)

    def delete_run(self, run: str) -> None:
        """Delete a run (MLflow keeps it, restorable)."""
        with failures_named():
            self._client.delete_run(run)

    def history(self, run: str, metric: str) -> dict[int, float]:
        """What is logged of a metric, by step."""
        with failures_named():
            return {point.step: point.value for point in self._client.get_metric_history(run, metric)}

    def upload(self, run: str, path: Path) -> None:
        """Store a file as an artifact at the top of a run; what is there under its name is replaced."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with failures_named():
            place = self._places.get(run)
            if place is None:
                self._client.log_artifact(run, str(path))
            else:
                get_artifact_repository(place, self.uri).log_artifact(str(path))

    def upload_bytes(self, run: str, name: str, content: bytes) -> None:
        """Store bytes as an artifact, in the same way."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            self.upload(run, path)

    def upload_text(self, run: str, name: str, text: str) -> None:
        """Store a text as an artifact, in the same way."""
        self.upload_bytes(run, name, text.encode())

    def log_dataset(self, run: str, name: str, digest: str, source: Mapping[str, object]) -> None:
        """Say which data a run was trained on, with MLflow's own means; the same again changes nothing.

        Args:
            run: The run.
            name: Of the data set.
            digest: Tells its content from any other's.
            source: How it is found: the options of the spec.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name, digest[:DIGEST_LENGTH], "sweeps", json.dumps(source))
        used = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
        with failures_named():
            self._client.log_inputs(run, datasets=[used])
