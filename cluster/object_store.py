"""The S3-compatible object store: MLflow keeps artifacts in it, and every node may keep files in it.

SeaweedFS, since it is developed (a release a month) under a licence that asks nothing of its users (Apache-2.0),
is one program without a database of its own, and keys can be given for single buckets. MinIO is AGPL and its
repository is archived since 2026; Garage is AGPL; Ceph wants several machines; RustFS is much younger.

Its parts talk to each other on loopback of its own container. The S3 interface alone listens to others and demands
a key; its control port (gRPC, beside the S3 port) demands a signature by the key in `security.toml`.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cluster.credentials import read_secret
from cluster.errors import ClusterError

REGION = "us-east-1"  # S3 signs with one; the store does not care
VOLUME_MEGABYTES = 1024


class StoreFailed(ClusterError, RuntimeError):
    """The object store does not answer, or refuses."""


class ObjectStore(BaseModel):
    """One SeaweedFS server with its S3 interface."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="folder of the objects")
    settings: Path = Field(
        description="folder with s3.json (keys) and security.toml (signatures between its parts)"
    )
    host: str = Field("127.0.0.1", description="address the S3 interface listens on")
    part_ports: tuple[int, int, int] | None = Field(
        None,
        description="ports of its master, volume server and filer on loopback, each with a control port 10000 "
        "higher; SeaweedFS's own if not given, as in a container, where they are alone",
    )
    port: int = Field(
        8333, ge=1024, le=55535, description="port of the S3 interface; its control port is 10000 higher"
    )

    def program(self) -> list[str]:
        """`weed server` with S3 alone listening beyond loopback."""
        return [
            "weed",
            f"-config_dir={self.settings}",
            "-logtostderr",
            "server",
            f"-dir={self.data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            f"-master.volumeSizeLimitMB={VOLUME_MEGABYTES}",
            "-volume.max=0",  # as many as the disk holds
            "-s3",
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.ip.bind={self.host}",
            f"-s3.port={self.port}",
            f"-s3.config={self.settings / 's3.json'}",
            *self._part_options(),
        ]

    def _part_options(self) -> list[str]:
        parts = zip(("master", "volume", "filer"), self.part_ports or (), strict=False)
        return [f"-{part}.port={port}" for part, port in parts]

    @property
    def health_url(self) -> str:
        """Answers 200, without a key, while the store is well; to be asked on its own machine."""
        return f"http://127.0.0.1:{self.port}/healthz"


def client_environment(endpoint: str, credentials_file: Path) -> dict[str, str]:
    """What makes S3 clients (boto3, pyarrow) use a store with the keys in a file; no secret's value."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials_file),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(endpoint: str, bucket: str, credentials_file: Path) -> None:
    """Make a bucket unless it is there.

    Raises:
        BadOption: The file of keys can not be read, or others can.
        StoreFailed: The store refuses the key or does not answer.
    """
    import botocore.session
    from botocore.exceptions import BotoCoreError, ClientError

    read_secret(credentials_file)
    session = botocore.session.Session()
    session.set_config_variable("credentials_file", str(credentials_file))
    client = session.create_client("s3", endpoint_url=endpoint, region_name=REGION)
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise StoreFailed(f"bucket {bucket!r} at {endpoint}: {error}") from error
    except BotoCoreError as error:
        raise StoreFailed(f"bucket {bucket!r} at {endpoint}: {error}") from error
