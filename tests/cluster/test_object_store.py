"""The compose file's object store as a process here: keys for single buckets, nothing without one."""

from collections.abc import Iterator
from pathlib import Path

import botocore.session
import grpc
import pytest
from botocore.exceptions import ClientError

from cluster import credentials, probe
from cluster.credentials import S3_BUCKETS, S3_CREDENTIALS, secret_path
from cluster.errors import BadOption
from cluster.examine import shared_file, try_storage
from cluster.object_store import ObjectStore, StoreFailed, client_environment, make_bucket
from cluster.ports import is_free
from tests.object_store import CONTROL as CONTROL_PORTS
from tests.object_store import serving, store_in

HOST = "127.0.0.3"
CONTROL = (
    "messaging_pb.SeaweedS3IamCache/PutIdentity",
    "s3_lifecycle_pb.SeaweedS3LifecycleInternal/LifecycleDelete",
)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects") / "state"
    credentials.initialise(folder)
    return folder


@pytest.fixture(scope="module")
def store(state: Path) -> Iterator[ObjectStore]:
    served = store_in(state, HOST)
    with serving(served):
        yield served


@pytest.mark.slow
def test_each_key_is_for_one_bucket(store: ObjectStore, state: Path) -> None:
    for user, bucket in S3_BUCKETS.items():
        make_bucket(endpoint(store), bucket, secret_path(state, S3_CREDENTIALS[user]))
        make_bucket(endpoint(store), bucket, secret_path(state, S3_CREDENTIALS[user]))  # what is there stays
        client(store, state, user).put_object(Bucket=bucket, Key="a/b", Body=user.encode())

    for user, bucket in S3_BUCKETS.items():
        own = client(store, state, user)
        assert own.get_object(Bucket=bucket, Key="a/b")["Body"].read() == user.encode()
        for other in set(S3_BUCKETS.values()) - {bucket}:
            with pytest.raises(ClientError, match="AccessDenied"):
                own.get_object(Bucket=other, Key="a/b")
            with pytest.raises(ClientError, match="AccessDenied"):
                own.put_object(Bucket=other, Key="a/c", Body=b"")
    with pytest.raises(StoreFailed, match="AccessDenied"):
        make_bucket(endpoint(store), "third", secret_path(state, S3_CREDENTIALS["mlflow"]))


@pytest.mark.slow
def test_without_a_key_nothing_is_answered(store: ObjectStore, state: Path) -> None:
    assert probe.get(f"{endpoint(store)}/artifacts/a/b")[0] == 403
    assert probe.get(f"{endpoint(store)}/")[0] == 403
    with grpc.insecure_channel(f"{HOST}:{store.port + CONTROL_PORTS}") as channel:
        for method in CONTROL:
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(f"/{method}")(b"", timeout=60)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED, method


@pytest.mark.slow
def test_only_the_s3_interface_leaves_loopback(store: ObjectStore) -> None:
    for part in store.part_ports or ():
        for port in (part, part + CONTROL_PORTS):
            assert probe.get(f"http://{HOST}:{port}/")[0] == 0, port
            assert not is_free(port)


@pytest.mark.slow
def test_the_doctors_question_is_answered_in_the_nodes_bucket(
    store: ObjectStore, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in client_environment(endpoint(store), secret_path(state, S3_CREDENTIALS["sweeps"])).items():
        monkeypatch.setenv(name, value)
    storage = "s3://sweeps/there?allow_bucket_creation=true"

    with shared_file(storage) as shared:
        assert try_storage(storage, shared) is None
        assert "not the same storage" in str(try_storage("s3://sweeps/elsewhere", shared))
    assert "ACCESS_DENIED" in str(try_storage("s3://artifacts/there", shared))


def test_nobody_at_the_address_is_said(state: Path) -> None:
    with pytest.raises(StoreFailed, match=r"bucket 'artifacts' at http://127\.0\.0\.1:1"):
        make_bucket("http://127.0.0.1:1", "artifacts", secret_path(state, S3_CREDENTIALS["mlflow"]))


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("[default]\n")
    (tmp_path / "keys").chmod(0o644)

    with pytest.raises(BadOption, match="mode 0644"):
        make_bucket("http://127.0.0.1:1", "artifacts", tmp_path / "keys")


def endpoint(store: ObjectStore) -> str:
    return f"http://{HOST}:{store.port}"


def client(store: ObjectStore, state: Path, user: str):
    session = botocore.session.Session()
    session.set_config_variable("credentials_file", str(secret_path(state, S3_CREDENTIALS[user])))
    return session.create_client("s3", endpoint_url=endpoint(store), region_name="us-east-1")
