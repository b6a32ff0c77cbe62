import contextlib
import dataclasses
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster import credentials, doctor, examine, processes
from cluster.client import Client, reach
from cluster.containers import EVERYWHERE
from cluster.doctor import Finding, examine_cluster, render
from cluster.errors import BadOption, NotUp
from cluster.examine import Examined
from cluster.job import JobFailed, run_job
from cluster.local_cluster import LocalCluster
from cluster.probe import wait_for

NODE = Examined(
    node_id="a",
    address="10.0.0.1",
    clock_ahead_seconds=0.0,
    clock_uncertainty_seconds=0.01,
    disk_free_bytes=50_000_000_000,
    storage_error=None,
    ray_gpus=0.0,
    torch_gpus=0,
    versions=dict.fromkeys(examine.PACKAGES, "1.0"),
)


@pytest.mark.slow
class TestTwoNodes:
    def test_a_cluster_of_ours_is_well(self, two_nodes: LocalCluster, tmp_path: Path) -> None:
        findings = examine_cluster(reach(two_nodes.folder), str(tmp_path / "storage"))

        assert [finding for finding in findings if not finding.well] == []
        checks = [finding.check for finding in findings]
        for node in two_nodes.alive_nodes():
            assert f"{node.address} storage" in checks
            assert f"{node.address} clock" in checks
        assert {"mlflow default permission", "mlflow listens", "dashboard listens"} <= set(checks)
        assert list((tmp_path / "storage").iterdir()) == []

    def test_a_wrong_token_is_found(self, two_nodes: LocalCluster, tmp_path: Path) -> None:
        credentials.write_once(tmp_path / "wrong", "0" * 64)
        client = dataclasses.replace(reach(two_nodes.folder), token_file=tmp_path / "wrong")

        assert "ray answers" in bad(examine_cluster(client))

    def test_a_job_that_fails_shows_its_log(self, two_nodes: LocalCluster) -> None:
        with pytest.raises(JobFailed, match=r"(?s)failed; end of its log:.*what went wrong"):
            run_job(reach(two_nodes.folder), "echo what went wrong; false", timeout=240)


def test_services_without_authentication_are_found(tmp_path: Path) -> None:
    with open_server({"ray_version": "1"}) as url:
        credentials.write_once(tmp_path / "token", "0" * 64)
        findings = examine_cluster(Client(url, tmp_path / "token", url, "admin", tmp_path / "token"))

    assert {"token authentication", "mlflow authentication"} <= bad(findings)
    assert "RAY_AUTH_MODE=token" in render(findings)


def test_nobody_at_the_address_is_found_and_nothing_else_asked(tmp_path: Path) -> None:
    credentials.write_once(tmp_path / "token", "0" * 64)
    findings = examine_cluster(Client("http://127.0.0.1:1", tmp_path / "token"))

    assert "ray answers" in bad(findings)
    assert "nodes" not in bad(findings)


def test_an_open_token_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0" * 64)
    (tmp_path / "token").chmod(0o644)

    assert "token file" in bad(examine_cluster(Client("http://127.0.0.1:1", tmp_path / "token")))


def test_an_address_beyond_this_machine_without_encryption_is_found() -> None:
    findings = doctor._listening(Client("http://10.0.0.1:8265", Path("t"), "https://mlflow.example"))

    assert bad(list(findings)) == {"dashboard address"}


@pytest.mark.parametrize(("host", "found"), [(EVERYWHERE, {"mlflow listens"}), ("127.0.0.1", set())])
def test_a_service_of_this_machine_that_listens_beyond_it_is_found(
    host: str, found: set[str], tmp_path: Path
) -> None:
    code = f"import socket, time; s = socket.create_server(({host!r}, 0)); print(s.getsockname()[1], flush=True)"
    log = tmp_path / "log"
    service = processes.start(
        "mlflow", [sys.executable, "-c", f"{code}; time.sleep(300)"], folder=tmp_path, log=log
    )
    try:
        port = wait_for(lambda: log.read_text().strip() or None, what="it listens", timeout=60)
        client = Client("https://x", Path("t"), f"http://127.0.0.1:{port}", services=(service,))
        assert bad(list(doctor._listening(client))) == found
    finally:
        processes.end([service], tmp_path)


def test_an_open_default_permission_is_found(tmp_path: Path) -> None:
    (tmp_path / "auth.ini").write_text("[mlflow]\ndefault_permission = READ\n")
    client = Client("http://x", Path("t"), "http://127.0.0.1:1", auth_settings=tmp_path / "auth.ini")

    assert "mlflow default permission" in bad(list(doctor._mlflow(client)))


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"storage_error": "OSError: no"}, "10.0.0.1 storage"),
        ({"clock_ahead_seconds": -3.0}, "10.0.0.1 clock"),
        ({"disk_free_bytes": 1_000_000}, "10.0.0.1 disk"),
        ({"ray_gpus": 2.0}, "10.0.0.1 GPUs"),
    ],
)
def test_what_a_node_lacks_is_found(change: dict[str, object], check: str) -> None:
    assert bad(list(doctor._node(NODE, "/storage"))) == set()
    node = dataclasses.replace(NODE, **change)  # type: ignore[arg-type]
    findings = list(doctor._node(node, "/storage"))

    assert bad(findings) == {check}
    assert all(finding.advice for finding in findings)


def test_different_versions_are_found() -> None:
    other = dataclasses.replace(NODE, versions=NODE.versions | {"ray": "2.0"})

    assert bad(list(doctor._versions([NODE, other]))) == {"ray version"}


def test_answers_survive_the_noise_of_a_log() -> None:
    log = f"some line\n{examine.render([NODE, NODE])}\nexamined by nobody"

    assert examine.parse(log) == [NODE, NODE]


def test_a_storage_is_written_read_and_left_clean(tmp_path: Path) -> None:
    storage = str(tmp_path / "new folder")

    with examine.shared_file(storage) as shared:
        assert examine.try_storage(storage, shared) is None
    assert list((tmp_path / "new folder").iterdir()) == []


def test_another_folder_under_the_same_name_is_not_the_same_storage(tmp_path: Path) -> None:
    with examine.shared_file(str(tmp_path / "head")) as shared:
        assert "not the same storage" in str(examine.try_storage(str(tmp_path / "worker"), shared))


def test_a_storage_that_can_not_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "Cannot create directory" in str(examine.try_storage(str(tmp_path / "file" / "x"), "shared"))


def test_a_client_is_reached_by_its_variables(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMT_CLUSTER_STATE", str(state_folder))
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    with pytest.raises(NotUp):
        reach()
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://head:8265/")
    with pytest.raises(BadOption, match="RAY_AUTH_TOKEN_PATH"):
        reach()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/token")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert reach() == Client("http://head:8265", Path("/token"), "http://mlflow:5000")


def bad(findings: list[Finding]) -> set[str]:
    return {finding.check for finding in findings if not finding.well}


@contextlib.contextmanager
def open_server(content: dict[str, str]) -> Iterator[str]:
    """A server that answers everybody everything."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
