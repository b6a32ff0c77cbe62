from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

import cluster
from cluster import credentials, local_cluster, probe, processes, state
from cluster.credentials import RAY_TOKEN, secret_path
from cluster.errors import AlreadyUp, BadOption, NotUp, StartFailed
from cluster.local_cluster import LocalCluster
from tests.cluster.clients import IMPATIENT, run_python
from tests.cluster.observed import listening, shown

TASKS = """
import ray

ray.init(log_to_driver=False, logging_level="ERROR")


@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def where():
    import time

    time.sleep(0.5)
    return ray.get_runtime_context().get_node_id()


print(len({*ray.get([where.remote() for _ in range(4)])}), "nodes did tasks,", len(ray.nodes()), "known")
"""
CONNECT = 'import ray; ray.init(log_to_driver=False, logging_level="ERROR"); print("connected")'
TRACK = """
import mlflow

mlflow.set_experiment("answers")
with mlflow.start_run() as run:
    mlflow.log_metric("m", 0.5)
    mlflow.log_text("text", "file.txt")
metrics = mlflow.get_run(run.info.run_id).data.metrics
print(metrics, mlflow.artifacts.load_text(run.info.artifact_uri + "/file.txt"))
"""


@pytest.mark.slow
class TestTwoNodes:
    def test_a_client_with_the_token_runs_tasks_on_both_nodes(self, two_nodes: LocalCluster) -> None:
        done = run_python(TASKS, two_nodes.environment)

        assert done.stdout.strip() == "2 nodes did tasks, 2 known", done.stderr

    def test_each_node_has_an_address_of_its_own(self, two_nodes: LocalCluster) -> None:
        nodes = two_nodes.alive_nodes()

        assert len({node.address for node in nodes}) == 2
        assert [node.cpus for node in nodes] == [1, 1]
        assert [node.is_head for node in nodes].count(True) == 1

    def test_a_client_without_a_token_is_refused(self, two_nodes: LocalCluster) -> None:
        address = {"RAY_ADDRESS": two_nodes.environment["RAY_ADDRESS"]}
        done = run_python(CONNECT, IMPATIENT | address | {"RAY_AUTH_MODE": "disabled"})

        assert done.returncode != 0
        assert "connected" not in done.stdout

    def test_a_client_with_a_wrong_token_is_refused(self, two_nodes: LocalCluster, tmp_path: Path) -> None:
        (tmp_path / "wrong").write_text("0" * 64)
        wrong = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "wrong")}
        done = run_python(CONNECT, IMPATIENT | two_nodes.environment | wrong)

        assert done.returncode != 0
        assert "connected" not in done.stdout

    @pytest.mark.parametrize("path", ["/api/jobs/", "/api/v0/nodes", "/api/version"])
    def test_the_job_interface_refuses_without_the_token(self, two_nodes: LocalCluster, path: str) -> None:
        url = two_nodes.environment["RAY_API_SERVER_ADDRESS"] + path

        assert probe.get(url)[0] == 401
        assert probe.get(url, headers=probe.bearer("0" * 64))[0] == 403

    def test_mlflow_keeps_metrics_and_artifacts(self, two_nodes: LocalCluster) -> None:
        done = run_python(TRACK, two_nodes.environment)

        assert "{'m': 0.5} text" in done.stdout, done.stderr

    def test_mlflow_refuses_a_foreign_host_name(self, two_nodes: LocalCluster) -> None:
        url = two_nodes.environment["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/experiments/get?experiment_id=0"

        assert probe.get(url, headers={"Host": "rebound.example"})[0] == 403

    def test_the_token_is_in_no_argument_environment_or_log(self, two_nodes: LocalCluster) -> None:
        token = secret_path(two_nodes.folder, RAY_TOKEN).read_text()
        everything = processes.trees(two_nodes.state.services, two_nodes.state.folder)

        seen = [text for process in everything if (text := shown(process))]
        assert len(seen) > 10
        assert not any(token in text for text in seen)
        for folder in (two_nodes.folder / "logs", two_nodes.state.folder):
            for path in folder.rglob("*"):
                assert not path.is_file() or token not in path.read_text(errors="replace"), path

    def test_mlflow_and_the_dashboard_listen_on_loopback_only(self, two_nodes: LocalCluster) -> None:
        for name in ("RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI"):
            port = urlsplit(two_nodes.environment[name]).port
            assert port is not None
            assert listening(two_nodes).get(port) == {"127.0.0.1"}

    def test_mlflow_refuses_without_its_password(self, two_nodes: LocalCluster) -> None:
        url = two_nodes.environment["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/experiments/get?experiment_id=0"

        assert probe.get(url)[0] == 401
        assert probe.get(url, headers=probe.basic("admin", "password1234"))[0] == 401

    def test_a_second_cluster_does_not_come_up_in_the_same_folder(self, two_nodes: LocalCluster) -> None:
        with pytest.raises(AlreadyUp, match="python -m cluster down"):
            cluster.up(state_folder=two_nodes.folder)

    def test_what_is_up_is_found_again_from_the_folder(self, two_nodes: LocalCluster) -> None:
        again = local_cluster.current(state_folder=two_nodes.folder)

        assert again.environment == two_nodes.environment
        assert list(again.services) == ["mlflow", "ray-head", "ray-worker-1"]
        assert all(service.process for service in again.services.values())


def test_a_service_that_fails_to_start_ends_the_others_and_shows_its_log(state_folder: Path) -> None:
    credentials.initialise(state_folder)
    credentials.secret_path(state_folder, credentials.MLFLOW_SESSION_KEY).chmod(0o644)

    with pytest.raises(StartFailed, match=r"mlflow ended .*; end of its log:\n.*mode 0644"):
        cluster.up(nodes=1, state_folder=state_folder)
    assert state.load(state_folder) is None
    assert [process for process in psutil.process_iter() if uses(process, state_folder)] == []


def test_what_is_not_up_can_not_be_ended(state_folder: Path) -> None:
    with pytest.raises(NotUp, match="python -m cluster up"):
        cluster.down(state_folder=state_folder)
    assert not state_folder.exists()


def test_a_store_that_is_no_database_is_named(state_folder: Path) -> None:
    (state_folder / "mlflow").mkdir(parents=True)
    (state_folder / "mlflow" / "mlflow.db").write_text("no database" * 1000)

    with pytest.raises(StartFailed, match=r"mlflow\.db: file is not a database"):
        cluster.up(nodes=1, state_folder=state_folder)
    assert state.load(state_folder) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 0}, "nodes = 0; allowed: 1 to 16"),
        ({"nodes": 17}, "nodes = 17; allowed: 1 to 16"),
        ({"cpus": 0}, "cpus = 0; allowed: at least 1"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(state_folder: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        cluster.up(state_folder=state_folder, **options)  # type: ignore[arg-type]
    assert not state_folder.exists()


def uses(process: psutil.Process, folder: Path) -> bool:
    """Whether a process was started with something of this folder: its token, its settings, its store."""
    return str(folder) in shown(process)
