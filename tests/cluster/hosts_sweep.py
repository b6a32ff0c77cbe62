"""A sweep on hosts, submitted from one that holds only the client as docker-compose.yml's `sweep` service does."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import containers, credentials
from tests.cluster.hosts import Host

# On one core each of the trials takes some seconds; `epochs` makes them longer.
SPEC = """
name: {name}
trial:
  data: {{kind: digits, validation: 300, train_size: {train_size}}}
  model: {{kind: mlp, widths: [{width}, {width}]}}
  training: {{epochs: {epochs}, batch_size: 50, optimiser: {{kind: sgd, lr: 0.05}}}}
  prune: {{rule: mp_threshold, aggressiveness: 0.8, every: {every}}}
space:
  training.optimiser.lr: {{grid: {rates}}}
replicates: {{initialisation: 3}}
"""
# What MLflow holds of a sweep: how many runs each replicate has, and how many metric points stand there twice.
MLFLOW = """
import collections, json, mlflow, sys
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name(sys.argv[1])
runs = client.search_runs([experiment.experiment_id], "tags.level = 'replicate'", max_results=1000)
doubled = 0
for run in runs:
    points = [point.step for point in client.get_metric_history(run.info.run_id, "validation_accuracy")]
    doubled += len(points) - len({*points})
artifacts = client.list_artifacts(runs[0].info.run_id)
print("found", json.dumps({
    "runs": collections.Counter(run.data.tags["identity"] for run in runs),
    "finished": sum(run.info.status == "FINISHED" for run in runs),
    "doubled": doubled,
    "artifacts": [artifact.path for artifact in artifacts],
    "tags": [run.data.tags | run.data.params for run in runs],
}))
"""

FOLLOW = """
import sys
from cluster.client import reach
from cluster.job import follow
print(follow(reach(), sys.argv[1], timeout=float(sys.argv[2])).log)
"""


@dataclass(frozen=True)
class Sweep:
    """A sweep that hosts are to run."""

    hosts: dict[str, Host]
    epochs: int
    rates: int
    name: str = "hosts"
    first: float = 0.01  # the lowest learning rate: sweeps that differ in it share no replicate
    step: float = 0.01  # from one learning rate to the next
    width: int = 64
    train_size: int = 400

    @property
    def replicates(self) -> int:
        """Planned: each rate's pruned trial and its twin, three times."""
        return 2 * 3 * self.rates

    @property
    def storage(self) -> Path:
        return self.hosts["client"].folder.parent / "storage"

    @property
    def spec(self) -> Path:
        return self.hosts["client"].folder / "sweeps" / f"{self.name}.yaml"

    @property
    def folder(self) -> Path:
        return self.storage / self.name

    def submit(self) -> str:
        """Submit it from the client by the compose file's command; the job's name."""
        self.spec.parent.mkdir(exist_ok=True)
        rates = [round(self.first + self.step * index, 4) for index in range(self.rates)]
        every = max(1, self.epochs // 2)
        text = SPEC.format(
            name=self.name,
            epochs=self.epochs,
            every=every,
            rates=rates,
            width=self.width,
            train_size=self.train_size,
        )
        self.spec.write_text(text)
        done = self.ask(*containers.SUBMIT, str(self.spec))
        found = re.search(rf"^submitted {self.name} as (\S+);", done, flags=re.MULTILINE)
        assert found, done
        return found[1]

    def ask(self, *command: str) -> str:
        """What a command of the client's prints; it must succeed."""
        variables = containers.CLIENT | {"RMT_STORAGE": str(self.storage)}
        done = self.hosts["client"].run(*command, variables=variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def told(self) -> dict[str, Any]:
        """What `sweeps status` tells the client."""
        where = ("--address", containers.CLIENT["RAY_API_SERVER_ADDRESS"])
        found: dict[str, Any] = json.loads(self.ask("sweeps", "status", self.name, "--json", *where))
        return found

    def logs(self) -> str:
        """What the driver printed, as the client is told it."""
        where = ("--address", containers.CLIENT["RAY_API_SERVER_ADDRESS"])
        return self.ask("sweeps", "logs", self.name, *where)

    def wait(self, job: str, timeout: float) -> None:
        """Wait for the driver's end, which must be a good one."""
        done = self.hosts["client"].run(
            "python", "-c", FOLLOW, job, str(timeout), timeout=timeout + 60, variables=containers.CLIENT
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def records(self) -> dict[Path, bytes]:
        """The records that are there now."""
        return {path: path.read_bytes() for path in self.storage.glob(f"{self.name}/trials/*/*/record.json")}

    def statuses(self) -> Counter[str]:
        return Counter(json.loads(content)["status"] for content in self.records().values())

    def nodes(self) -> set[str]:
        """The nodes that trained."""
        return {json.loads(content)["environment"]["node"] for content in self.records().values()}

    def epochs_twice(self) -> int:
        """Lines of histories that repeat an epoch, or histories that miss one."""
        wrong = 0
        for path in self.storage.glob(f"{self.name}/trials/*/*/history.jsonl"):
            epochs = [json.loads(line)["epoch"] for line in path.read_text().splitlines()]
            wrong += epochs != list(range(1, self.epochs + 1))
        return wrong

    def in_mlflow(self) -> dict[str, object]:
        """What MLflow holds, asked with the administrator's password from the host that serves it."""
        services = self.hosts["services"]
        password = (services.state / credentials.FOLDER / credentials.MLFLOW_PASSWORD).read_text()
        user = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
        done = services.run("python", "-c", MLFLOW, self.name, variables=containers.CLIENT | user)
        lines = [line for line in done.stdout.splitlines() if line.startswith("found ")]
        assert lines, done.stdout + done.stderr
        found: dict[str, object] = json.loads(lines[0].removeprefix("found "))
        return found
