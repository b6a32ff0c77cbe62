"""Machines for sweeps: local multi-node Ray, container image, cluster files, health checks.

`cluster` imports neither `rmt` nor `sweeps` nor MLflow: it starts Ray and MLflow as processes and tells
clients their addresses (`RAY_ADDRESS`, `RAY_API_SERVER_ADDRESS`, `RAY_AUTH_MODE`, `RAY_AUTH_TOKEN_PATH`,
`MLFLOW_TRACKING_URI`).

    with cluster.local(nodes=2, cpus=1, state="demo") as here:
        subprocess.run(["sweeps", "run", "sweep.yaml"], env={**os.environ, **here.environment}, check=True)
"""

from cluster.errors import AlreadyUp, BadOption, ClusterError, NotUp, StartFailed, WaitTimedOut
from cluster.local_cluster import LocalCluster, down, local, up

__all__ = [
    "AlreadyUp",
    "BadOption",
    "ClusterError",
    "LocalCluster",
    "NotUp",
    "StartFailed",
    "WaitTimedOut",
    "down",
    "local",
    "up",
]
