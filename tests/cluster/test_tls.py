"""A cluster whose gRPC goes by TLS: who has no certificate of its authority is refused, token or not."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import cluster
from cluster import certificates, credentials
from cluster.local_cluster import LocalCluster
from tests.cluster.clients import IMPATIENT, run_python
from tests.cluster.test_local_cluster import CONNECT, TASKS

CALL = "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with cluster.local(nodes=2, cpus=1, state=tmp_path_factory.mktemp("tls"), mlflow=False, tls=True) as made:
        yield made


@pytest.mark.slow
def test_a_client_with_a_certificate_runs_tasks_on_both_nodes(here: LocalCluster) -> None:
    done = run_python(TASKS, here.environment)

    assert done.stdout.strip() == "2 nodes did tasks, 2 known", done.stderr


@pytest.mark.slow
def test_a_client_without_a_certificate_is_refused(here: LocalCluster) -> None:
    plain = {name: value for name, value in here.environment.items() if "TLS" not in name}

    # Ray's client asks for minutes before it gives up, and says nothing else meanwhile.
    with pytest.raises(subprocess.TimeoutExpired) as refused:
        run_python(CONNECT, IMPATIENT | plain, timeout=20)
    assert b"connected" not in (refused.value.stdout or b"")
    with grpc.insecure_channel(here.state.ray_address) as channel:
        assert asked(channel, here) == "UNAVAILABLE"


@pytest.mark.slow
def test_a_certificate_of_another_authority_is_refused(here: LocalCluster, tmp_path: Path) -> None:
    certificates.make_authority(tmp_path)
    foreign = certificates.issue(tmp_path, tmp_path / "client")
    own = certificates.files_in(tmp_path / "client", here.folder / credentials.FOLDER)

    assert call(here, own) == "UNAVAILABLE"  # theirs is trusted, ours is not
    assert call(here, foreign) == "UNAVAILABLE"
    known = certificates.files_in(Path(here.environment["RAY_TLS_SERVER_CERT"]).parent, own.authority.parent)
    assert call(here, known) == "OK"


def call(here: LocalCluster, made: certificates.Certificate) -> str:
    """The code of a question to the head with a certificate."""
    files = (made.authority.read_bytes(), made.key.read_bytes(), made.certificate.read_bytes())
    with grpc.secure_channel(here.state.ray_address, grpc.ssl_channel_credentials(*files)) as channel:
        return asked(channel, here)


def asked(channel: grpc.Channel, here: LocalCluster) -> str:
    """The code of a question with the token."""
    token = Path(here.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    try:
        channel.unary_unary(CALL)(b"", timeout=60, metadata=(("authorization", f"Bearer {token}"),))
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"
