"""The same spec on a cluster of two nodes: `sweeps run --address`, with its token and its MLflow server."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

import cluster
from tests.end_to_end.conftest import SPEC, command


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_sweep_runs_on_both_nodes_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        SPEC.replace("epochs: 4", "epochs: 200")
        .replace("every: 2", "every: 100")
        .replace("name: small", "name: spread")
    )
    storage = tmp_path / "shared"
    with cluster.local(nodes=2, cpus=1, state=tmp_path / "cluster") as here:
        environment = dict(here.environment)
        refused = command(
            "run", spec, "--storage", storage, "--address", here.state.ray_address,
            environment=environment | {"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "wrong"},
        )  # fmt: skip
        assert refused.returncode == 2
        assert "its token" in refused.stderr
        environment.pop("RAY_ADDRESS")
        done = command(
            "run", spec, "--storage", storage, "--address", here.state.ray_address, environment=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        records = [json.loads(path.read_text()) for path in storage.glob("spread/trials/*/*/record.json")]
        assert len(records) == 27
        assert len({record["environment"]["node"] for record in records}) == 2
        for name, value in here.environment.items():
            monkeypatch.setenv(name, value)
        found = mlflow.MlflowClient(here.environment["MLFLOW_TRACKING_URI"]).get_experiment_by_name("spread")
        assert found is not None
    token = Path(here.environment["RAY_AUTH_TOKEN_PATH"]).read_bytes().strip()
    password = here.environment["MLFLOW_TRACKING_PASSWORD"].encode()
    written = [
        path for folder in (storage, here.folder / "mlflow", here.folder / "logs") for path in folder.rglob("*")
    ]
    content = b"".join(path.read_bytes() for path in written if path.is_file())
    assert b"validation_accuracy" in content  # records, and MLflow's database with its tags and parameters
    assert token not in content
    assert password not in content
