import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.local_cluster import LocalCluster
from cluster.ports import free_ports


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_init_makes_the_secrets_and_says_where(state_folder: Path) -> None:
    first = command("init", "--state", str(state_folder))
    token = (state_folder / "secrets" / "ray_token").read_text()

    assert first.returncode == 0, first.stderr
    assert f"made {state_folder / 'secrets' / 'ray_token'}" in first.stdout
    assert token not in first.stdout
    assert "all secrets are in" in command("init", RMT_CLUSTER_STATE=str(state_folder)).stdout
    assert (state_folder / "secrets" / "ray_token").read_text() == token


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["down"], ["no cluster is up", "python -m cluster up"]),
        (["status"], ["no cluster is up"]),
        (["env"], ["no cluster is up"]),
        (["wait", "--nodes", "1"], ["no cluster is up"]),
        (["up", "--nodes", "0"], ["nodes = 0", "1 to 16"]),
        (["up", "--cpus", "-1"], ["cpus = -1", "at least 1"]),
        (["up", "--cpus", "99999999"], ["cpus = 99999999", "at most 1024"]),
        (["serve", "redis"], ["unknown service 'redis'", "known: ray-head"]),
        (["serve", "ray-head", "--port", "1"], ["--port = '1'"]),
        (["up", "--nodes", "two"], ["'--nodes'", "valid integer"]),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: list[str], words: list[str], state_folder: Path) -> None:
    done = command(*arguments, RMT_CLUSTER_STATE=str(state_folder))

    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_explains_its_options() -> None:
    done = command("serve", "ray-worker", "--help")

    assert done.returncode == 0
    assert "--token-file" in done.stdout
    assert "HOST:PORT of the head" in done.stdout


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/health", "no address"])
def test_an_unwell_address_is_status_one(address: str) -> None:
    done = command("healthy", address)

    assert done.returncode == 1
    assert "no answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_waiting_for_a_head_that_is_not_there_says_so(state_folder: Path) -> None:
    (state_folder / "token").parent.mkdir()
    (state_folder / "token").write_text("0" * 64)
    (state_folder / "token").chmod(0o600)
    (port,) = free_ports(1)
    dashboard = f"http://127.0.0.1:{port}"
    done = command(
        *("wait", "--nodes", "2", "--timeout", "0.2"),
        RMT_CLUSTER_STATE=str(state_folder),
        RAY_API_SERVER_ADDRESS=dashboard,
        RAY_AUTH_TOKEN_PATH=str(state_folder / "token"),
    )

    assert done.returncode == 2
    assert f"not within 0.2 s; the head does not say which are ({dashboard} answers 0: " in done.stderr
    assert "look at the logs of the services ray-head and ray-worker" in done.stderr


@pytest.mark.slow
class TestTwoNodes:
    def test_status_lists_services_and_nodes(self, two_nodes: LocalCluster) -> None:
        done = command("status", "--state", str(two_nodes.folder))

        assert done.returncode == 0, done.stdout
        assert "2 of 2 nodes alive" in done.stdout
        assert done.stdout.count("running") == 3

    def test_env_is_what_a_shell_needs_and_shows_no_secret(self, two_nodes: LocalCluster) -> None:
        shown = command("env", "--state", str(two_nodes.folder)).stdout
        script = f'{shown}\n{sys.executable} -c "import json, os; print(json.dumps(dict(os.environ)))"'
        evaluated = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout

        assert two_nodes.environment.items() <= json.loads(evaluated).items()
        assert two_nodes.environment["MLFLOW_TRACKING_PASSWORD"] not in shown

    def test_env_as_json_is_the_environment(self, two_nodes: LocalCluster) -> None:
        done = command("env", "--json", "--state", str(two_nodes.folder))

        assert json.loads(done.stdout) == two_nodes.environment

    def test_wait_needs_no_state_folder_but_a_clients_variables(
        self, two_nodes: LocalCluster, state_folder: Path
    ) -> None:
        client = two_nodes.environment | {"RMT_CLUSTER_STATE": str(state_folder)}

        assert command("wait", "--nodes", "2", **client).stdout == "2 node(s) alive\n"

    def test_waiting_for_more_nodes_than_come_ends_with_those_that_did(self, two_nodes: LocalCluster) -> None:
        done = command("wait", "--nodes", "3", "--timeout", "0.2", "--state", str(two_nodes.folder))

        assert done.returncode == 2
        assert "3 node(s) alive: not within 0.2 s; 2 of 3 alive: " in done.stderr
        assert "127.0.0.2 (head)" in done.stderr
        assert f"; look at {two_nodes.services['ray-head'].log}, " in done.stderr
        assert str(two_nodes.services["ray-worker-1"].log) in done.stderr
