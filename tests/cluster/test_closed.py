"""Each port that a cluster listens on, without the token: refused, or harmless and named in SECURITY.md."""

from collections.abc import Iterator

import pytest

from cluster import credentials
from cluster.local_cluster import LocalCluster
from tests.cluster.asked import CALLS, ask, call
from tests.cluster.observed import listening

HEALTH = "/grpc.health.v1.Health/Check"  # gRPC's own; SECURITY.md says what it tells


@pytest.mark.slow
def test_every_port_refuses_without_the_token(two_nodes: LocalCluster) -> None:
    metrics, refusing = 0, 0
    for port, host in addresses(two_nodes):
        answer = ask(f"{host}:{port}")
        assert answer.is_metrics or answer.refuses, (port, answer)
        metrics += answer.is_metrics
        refusing += answer.refuses
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
