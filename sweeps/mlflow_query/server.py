"""Many runs from an MLflow server: its JSON as it comes, the next page asked for while this one is read.

MLflow's client makes protocol buffers of each answer and objects of these, which takes several times as long as
the JSON itself. Requests go through MLflow's own function, with the credentials and certificates it knows of.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps.mlflow_query.runs import REPLICATE, SUMMARISED, TRIAL, Point, Run, in_parts
from sweeps.tracking.client import Unavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1_000  # which a busy server answers long before a request gives up
RUNS_PER_REQUEST = 50  # of a history: their names stand in the address, of which servers take 4,000 characters
MOST_POINTS = 25_000  # of an answer; a server cuts what is more without a word
AT_ONCE = 4  # histories that are asked for together
ELSEWISE = frozenset(
    {401, 403, 404, 405}
)  # of an address for the UI: older servers, or a gate, do not let it through
_SEARCH = "/api/2.0/mlflow/runs/search"
_HISTORY = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"  # what the UI's charts ask
# Only trials' runs have counts: a condition on the tag would make the database look at every replicate as well.
_CONDITIONS = {
    REPLICATE: "tags.level = 'replicate'",
    TRIAL: "tags.level = 'trial'",
    SUMMARISED: "metrics.n >= 0",
}


class Server(NamedTuple):
    """A server, and MLflow's client for what is asked one by one."""

    address: str
    client: MlflowClient

    def runs(self, experiment: str, level: str) -> Iterator[Run]:
        """All active runs of an experiment that are replicates or trials, or trials with statistics; each once.

        The oldest come first: one that begins meanwhile does not move those on later pages.
        """
        asked: dict[str, Any] = {
            "experiment_ids": [experiment],
            "filter": _CONDITIONS[level],
            "order_by": ["attributes.start_time ASC"],
            "max_results": PAGE,
        }
        seen: set[str] = set()
        with ThreadPoolExecutor(1) as ahead:
            answer = self._ask(_SEARCH, "POST", json=asked)
            while answer is not None:
                token = answer.get("next_page_token")
                following = (
                    ahead.submit(self._ask, _SEARCH, "POST", json=asked | {"page_token": token}) if token else None
                )
                for run in map(_run, answer.get("runs", ())):
                    if run.run_id not in seen:
                        seen.add(run.run_id)
                        yield run
                answer = following.result() if following else None

    def points(self, wanted: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str, list[Point]]]:
        """Run, metric and all its points, for the metrics that are wanted of each run."""
        having: dict[str, list[str]] = {}
        for run, metrics in wanted.items():
            for metric in metrics:
                having.setdefault(metric, []).append(run)
        asked = [(metric, part) for metric, runs in having.items() for part in in_parts(runs, RUNS_PER_REQUEST)]
        with ThreadPoolExecutor(AT_ONCE) as together:
            for (metric, _), found in zip(
                asked, together.map(lambda one: self._of_runs(*one), asked), strict=True
            ):
                yield from ((run, metric, points) for run, points in found.items())

    def _of_runs(self, metric: str, runs: Sequence[str]) -> dict[str, list[Point]]:
        """Points of a metric by run, whole: an answer that may have been cut is asked for in halves."""
        if len(runs) == 1:
            return {runs[0]: self._of_run(metric, runs[0])}
        query = {"run_id": list(runs), "metric_key": metric, "max_results": MOST_POINTS}
        answer = self._ask(_HISTORY, "GET", none_at=ELSEWISE, params=query)
        if answer is None:
            return {run: self._of_run(metric, run) for run in runs}
        found: dict[str, list[Point]] = {run: [] for run in runs}
        for point in answer["metrics"]:
            found[point["run_id"]].append(_point(point))
        if len(answer["metrics"]) >= MOST_POINTS or not all(found.values()):
            middle = len(runs) // 2
            return self._of_runs(metric, runs[:middle]) | self._of_runs(metric, runs[middle:])
        return found

    def _of_run(self, metric: str, run: str) -> list[Point]:
        return [Point(p.step, p.timestamp, p.value) for p in self.client.get_metric_history(run, metric)]

    def _ask(self, endpoint: str, method: str, *, none_at: Collection[int] = (), **asked: Any) -> Any:
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request, verify_rest_response

        answer = http_request(get_default_host_creds(self.address), endpoint, method, **asked)
        if answer.status_code in none_at:
            return None
        if answer.status_code != 200:
            verify_rest_response(answer, endpoint)  # raises MLflow's exception of it
        try:
            return json.loads(answer.content)
        except ValueError:
            if none_at:  # a page in place of what is not there
                return None
            raise Unavailable(f"what answers {endpoint} is no JSON") from None


def _run(plain: Mapping[str, Any]) -> Run:
    info, data = plain["info"], plain.get("data", {})
    end = info.get("end_time")
    return Run(
        info["run_id"],
        info["status"],
        int(end) if end else None,
        info.get("artifact_uri", ""),
        {one["key"]: one.get("value", "") for one in data.get("params", ())},
        {one["key"]: float(one.get("value", 0.0)) for one in data.get("metrics", ())},
        {one["key"]: one.get("value", "") for one in data.get("tags", ())},
    )


def _point(plain: Mapping[str, Any]) -> Point:
    return Point(int(plain.get("step", 0)), int(plain["timestamp"]), float(plain["value"]))
