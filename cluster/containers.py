"""The services inside containers: docker-compose.yml and the Kubernetes files start exactly these.

In containers each service has an address of its own, so ports are the usual ones and listeners take every
interface of the container; what is published to the outside is the compose file's matter. Secrets are files under
/run/secrets. The tests compare the YAML with this page, so neither can change alone.
"""

from pathlib import Path

from cluster import credentials
from cluster.commands import Mlflow, RayHead, RayWorker, Service
from cluster.object_store import ObjectStore, client_environment

SECRETS = Path("/run/secrets")
EVERYWHERE = "0.0.0.0"  # noqa: S104 - of a container's own network; ports are published on loopback only
TOKEN = SECRETS / "ray_token"
S3 = "http://objects:8333"

SERVICES: dict[str, Service] = {
    "ray-head": RayHead(
        token_file=TOKEN,
        dashboard_host=EVERYWHERE,
        cpus=0,  # trials run on the workers; the head keeps the cluster's state and the drivers of jobs
    ),
    "ray-worker": RayWorker(token_file=TOKEN, address="ray-head:6379"),
    "ray-worker-gpu": RayWorker(token_file=TOKEN, address="ray-head:6379"),
    "mlflow": Mlflow(
        host=EVERYWHERE,
        store="postgresql+psycopg2://mlflow@postgres:5432/mlflow?passfile=/run/secrets/pgpass",
        artifacts="s3://artifacts",
        allowed_hosts="localhost:5000,127.0.0.1:5000,mlflow:5000",
        auth_config=SECRETS / "mlflow_auth.ini",
        session_key_file=SECRETS / "mlflow_session_key",
        s3_endpoint=S3,
        s3_credentials_file=SECRETS / credentials.S3_CREDENTIALS["mlflow"],
    ),
}

# In an image of its own, without this package: by its program's own command line.
OBJECTS = ObjectStore(data=Path("/data"), settings=SECRETS, host=EVERYWHERE)
OBJECTS_HEALTH = ["CMD", "wget", "--quiet", "--output-document=/dev/null", OBJECTS.health_url]

# What a client inside the network needs; the files are mounted, MLflow's at ~/.mlflow/credentials.
CLIENT = {
    "RAY_ADDRESS": "ray-head:6379",
    "RAY_API_SERVER_ADDRESS": "http://ray-head:8265",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": str(TOKEN),
    "MLFLOW_TRACKING_URI": "http://mlflow:5000",
}

# How a sweep is submitted from such a client; the path of the spec follows.
SUBMIT = ["sweeps", "submit", "--address", CLIENT["RAY_API_SERVER_ADDRESS"]]

# What Ray's nodes have beside it: trials and drivers may keep files in the bucket that is theirs.
NODE = CLIENT | client_environment(S3, SECRETS / credentials.S3_CREDENTIALS["sweeps"])


def health_command(name: str) -> list[str]:
    """The check of a service's health, as a compose file wants it."""
    return ["CMD", "python", "-m", "cluster", "healthy", SERVICES[name].health_url]
