import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.commands import SERVICES, Mlflow, RayHead, RayWorker, Service
from cluster.errors import BadOption
from cluster.serve import parse

TOKEN = Path("/run/secrets/ray_token")
ports = st.integers(1024, 65535)
paths = st.sampled_from([Path("/data"), Path("/with space/ü"), Path("relative/-dash")])
maybe = st.none()
SERVICE_MODELS: dict[str, st.SearchStrategy[Service]] = {
    "ray-head": st.builds(
        RayHead,
        token_file=paths,
        port=ports,
        cpus=maybe | st.integers(0, 512),
        folder=maybe | paths,
        node_ip=maybe,
    ),
    "ray-worker": st.builds(
        RayWorker, token_file=paths, address=st.just("head:6379"), gpus=maybe | st.integers(0, 8)
    ),
    "mlflow": st.builds(
        Mlflow,
        store=st.just("postgresql+psycopg2://mlflow@postgres/mlflow?passfile=/run/secrets/pgpass"),
        artifacts=st.just("s3://bucket/artifacts"),
        allowed_hosts=st.just("mlflow:5000,localhost:5000"),
        workers=st.integers(1, 64),
        auth=st.sampled_from(["basic", "none"]),
        auth_config=maybe | paths,
    ),
}


def test_every_service_has_a_strategy_here() -> None:
    assert set(SERVICE_MODELS) == set(SERVICES)


@pytest.mark.parametrize("kind", SERVICES)
@given(data=st.data())
def test_the_command_line_means_the_service_it_came_from(kind: str, data: st.DataObject) -> None:
    service = data.draw(SERVICE_MODELS[kind])

    python, *start, parsed_kind = service.serve()[:5]
    assert [python, *start] == ["python", "-m", "cluster", "serve"]
    assert parse(parsed_kind, service.serve()[5:]) == service


def test_ray_starts_with_token_authentication_by_file() -> None:
    head = RayHead(token_file=TOKEN, node_ip="10.0.0.1", port=7000, cpus=3, folder=Path("/t"))

    assert head.program()[:4] == [sys.executable, "-m", "ray.scripts.scripts", "start"]
    options = " ".join(head.program())
    for option in (
        "--head",
        "--block",
        "--port 7000",
        "--num-cpus 3",
        "--node-ip-address 10.0.0.1",
        "--temp-dir /t",
    ):
        assert option in options
    assert head.environment()["RAY_AUTH_MODE"] == "token"
    assert head.environment()["RAY_AUTH_TOKEN_PATH"] == str(TOKEN)
    assert head.environment()["RAY_USAGE_STATS_ENABLED"] == "0"
    assert int(head.environment()["RAY_grpc_client_keepalive_time_ms"]) <= 30_000
    assert int(head.environment()["RAY_raylet_liveness_self_check_interval_ms"]) <= 10_000


def test_a_worker_joins_its_head() -> None:
    program = RayWorker(token_file=TOKEN, address="head:6379").program()

    assert program[program.index("--address") + 1] == "head:6379"
    assert "--head" not in program


def test_mlflow_takes_its_session_key_from_a_file() -> None:
    service = mlflow(session_key_file=Path("/run/secrets/key"), auth_config=Path("/run/secrets/auth.ini"))

    assert service.secrets() == {"MLFLOW_FLASK_SERVER_SECRET_KEY": Path("/run/secrets/key")}
    assert service.environment()["MLFLOW_AUTH_CONFIG_PATH"] == "/run/secrets/auth.ini"
    assert service.program()[-2:] == ["--app-name", "basic-auth"]
    assert mlflow(auth="none").program()[-1] != "basic-auth"


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("ray-haed", [], ["unknown service 'ray-haed'", "ray-head, ray-worker, mlflow"]),
        ("ray-head", ["--token-file", "t", "--prot", "1"], ["--prot", "known options", "--port"]),
        ("ray-head", [], ["--token-file", "required"]),
        ("ray-head", ["--token-file", "t", "--port", "80"], ["--port = '80'", "1024"]),
        ("ray-head", ["--token-file", "t", "--cpus", "two"], ["--cpus = 'two'", "integer"]),
        ("ray-worker", ["--token-file", "t", "--address", "head"], ["--address = 'head'", "pattern"]),
        ("mlflow", ["--store", "/a.db", "--artifacts", "a", "--allowed-hosts", "h"], ["--store", "sqlite"]),
        ("mlflow", ["--store"], ["--store", "expected one argument"]),
    ],
)
def test_a_bad_command_line_names_option_value_and_what_is_allowed(
    kind: str, arguments: list[str], words: list[str]
) -> None:
    with pytest.raises(BadOption) as error:
        parse(kind, arguments)
    for word in words:
        assert word in str(error.value)


def test_a_password_in_the_store_address_is_refused() -> None:
    with pytest.raises(BadOption, match="passfile"):
        parse(
            "mlflow",
            ["--store", "postgresql+psycopg2://u:hunter2@h/db", "--artifacts", "a", "--allowed-hosts", "h"],
        )


def test_a_refused_password_is_not_repeated() -> None:
    with pytest.raises(BadOption) as error:
        parse(
            "mlflow",
            ["--store", "postgresql+psycopg2://u:hunter2@h/db", "--artifacts", "a", "--allowed-hosts", "h"],
        )
    assert "hunter2" not in str(error.value)


def mlflow(**options: Any) -> Mlflow:
    return Mlflow(store="sqlite:///a.db", artifacts="a", allowed_hosts="localhost:5000", **options)
