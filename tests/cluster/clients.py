"""Clients of a cluster, as processes of their own."""

import os
import subprocess
import sys

# How often Ray asks before it gives up, a second apart: a refusal need not be waited for.
IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "2"}


def run_python(code: str, environment: dict[str, str], *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """A client in a process of its own, with nothing of this one's Ray or MLflow settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
