"""What a person or a program finds in an MLflow store, read with MLflow's own client."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

Row = tuple[str, int, int, str]


class Seen:
    """An MLflow store as a client sees it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.client = MlflowClient(tracking_uri=uri)

    def experiment(self, sweep: str) -> str:
        found = self.client.get_experiment_by_name(sweep)
        assert found is not None, f"no experiment {sweep}"
        return str(found.experiment_id)

    def runs(self, sweep: str, condition: str = "", view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        page = self.client.search_runs([self.experiment(sweep)], condition, run_view_type=view, max_results=5000)
        assert page.token is None or not page.token
        return list(page)

    def level(self, sweep: str, level: str) -> dict[str, Run]:
        """Active runs of a level by identity; fails on doubles."""
        runs = self.runs(sweep, f"tags.level = '{level}'")
        twice = [name for name, n in Counter(run.data.tags["identity"] for run in runs).items() if n > 1]
        assert not twice, f"more than one run: {twice}"
        return {run.data.tags["identity"]: run for run in runs}

    def replicate(self, sweep: str, identity: str) -> Run:
        return self.level(sweep, "replicate")[identity]

    def rows(self, run: Run) -> list[Row]:
        """All metric rows of a run: name, step, timestamp, value."""
        found = []
        for name in run.data.metrics:
            history = self.client.get_metric_history(run.info.run_id, name)
            found += [(point.key, point.step, point.timestamp, repr(point.value)) for point in history]
        return sorted(found)

    def tree(self, sweep: str) -> dict[str, Any]:
        """Everything that two stores of the same records must have in common."""
        runs = self.runs(sweep)
        names = {run.info.run_id: run.data.tags["identity"] for run in runs}
        return {f"{run.data.tags['level']} {run.data.tags['identity']}": self._facts(run, names) for run in runs}

    def _facts(self, run: Run, names: dict[str, str]) -> dict[str, Any]:
        level = run.data.tags["level"]
        tags = {k: v for k, v in run.data.tags.items() if k not in ("mlflow.parentRunId", "mlflow.user")}
        return {
            "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
            "name": run.info.run_name,
            "status": run.info.status,
            "begin": run.info.start_time,
            "end": run.info.end_time if level != "sweep" else None,
            "parameters": run.data.params,
            "tags": tags,
            "latest": {name: repr(value) for name, value in run.data.metrics.items()},
            "history": self.rows(run) if level == "replicate" else None,
            "artifacts": self.artifacts(run),
        }

    def artifacts(self, run: Run) -> list[str]:
        return sorted(file.path for file in self.client.list_artifacts(run.info.run_id))

    def download(self, run: Run, name: str, to: Path) -> bytes:
        return Path(self.client.download_artifacts(run.info.run_id, name, str(to))).read_bytes()
