from collections.abc import Iterator
from pathlib import Path

import pytest

import cluster
from cluster.local_cluster import LocalCluster


@pytest.fixture(scope="package")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with cluster.local(nodes=2, cpus=1, state=tmp_path_factory.mktemp("two") / "state") as here:
        yield here


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    return tmp_path / "state folder"
