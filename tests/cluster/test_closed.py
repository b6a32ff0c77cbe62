"""Each port that a cluster listens on, without the token: refused, or harmless and named in SECURITY.md."""

from collections.abc import Iterator

import grpc
import pytest

from cluster import credentials, probe
from cluster.local_cluster import LocalCluster
from tests.cluster.observed import listening

# One call of each gRPC service that Ray's processes offer; an empty message is a valid question to each.
CALLS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.RayletDriver/ClusterInfo",
)
HEALTH = "/grpc.health.v1.Health/Check"  # gRPC's own; SECURITY.md says what it tells
ABSENT = ("UNAVAILABLE", "UNIMPLEMENTED", "DEADLINE_EXCEEDED")


@pytest.mark.slow
def test_every_port_refuses_without_the_token(two_nodes: LocalCluster) -> None:
    metrics, refusing = 0, 0
    for port, host in addresses(two_nodes):
        codes = {call(f"{host}:{port}", method) for method in CALLS} - {*ABSENT}
        status, text = probe.get(f"http://{host}:{port}/metrics", timeout=2)
        if status == 200:
            assert text.startswith(("# HELP", "# TYPE")), (port, text[:100])
            metrics += 1
        else:
            assert (status, codes) in ((401, set()), (0, {"UNAUTHENTICATED"})), port
            refusing += 1
    assert metrics <= 4  # of each node, of the dashboard and of the autoscaler; some open a little later
    assert refusing >= 8


@pytest.mark.slow
def test_the_calls_that_are_refused_are_answered_with_the_token(two_nodes: LocalCluster) -> None:
    token = credentials.secret_path(two_nodes.folder, credentials.RAY_TOKEN).read_text()
    head = two_nodes.environment["RAY_ADDRESS"]

    for method in CALLS[:3]:
        assert call(head, method) == "UNAUTHENTICATED"
        assert call(head, method, token="0" * 64) == "UNAUTHENTICATED"
        assert call(head, method, token=token) == "OK"


@pytest.mark.slow
def test_the_health_check_alone_is_answered_without_the_token(two_nodes: LocalCluster) -> None:
    assert call(two_nodes.environment["RAY_ADDRESS"], HEALTH) == "OK"


def addresses(here: LocalCluster) -> Iterator[tuple[int, str]]:
    """Every listening port with an address that reaches it."""
    for port, hosts in listening(here).items():
        local = [host.removeprefix("::ffff:") for host in hosts if host.removeprefix("::ffff:").startswith("127.")]
        yield port, local[0] if local else "127.0.0.1"


def call(address: str, method: str, token: str | None = None) -> str:
    """The code that a gRPC call with an empty message is answered with."""
    credentials_of_call = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=2, metadata=credentials_of_call)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"
