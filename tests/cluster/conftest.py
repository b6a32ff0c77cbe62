import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

import cluster
from cluster import processes, state
from cluster.local_cluster import LocalCluster
from tests.cluster.hosts import Host, cluster_of_hosts, tails, why_not
from tests.cluster.observed import answers, listening, runs


@pytest.fixture(scope="session")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """The one real cluster of this folder's tests; whatever they did, it must go without a trace."""
    here = cluster.up(nodes=2, cpus=1, state_folder=tmp_path_factory.mktemp("two nodes") / "state")
    try:
        yield here
    finally:
        everything = processes.trees(here.state.services, here.state.folder)
        ports = listening(here)
        os.kill(here.services["ray-head"].pid, signal.SIGKILL)  # the hard case: nobody is left to end its children
        here.down()
    assert len(everything) > 10
    assert [process for process in everything if runs(process)] == []
    assert processes.trees(here.state.services, here.state.folder) == []
    assert [port for port in ports if answers(port)] == []
    assert not here.state.folder.exists()
    assert state.load(here.folder) is None
    kept = {".gitignore", ".lock", "logs", "mlflow", "objects", "secrets"}
    assert {path.name for path in here.folder.iterdir()} == kept


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    """The compose file's services on hosts with addresses of their own, for one file's tests: they are many."""
    reason = why_not()
    if reason is not None:
        assert not os.environ.get("CI"), f"CI must be able to make hosts: {reason}"
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="rmt-hosts-"))
    folder.chmod(0o755)
    try:
        with cluster_of_hosts(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    return tmp_path / "state folder"


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[2]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure on hosts is reported with what their services said last."""
    report = yield
    hosts = item.funcargs.get("hosts")
    if report.failed and report.when != "teardown" and isinstance(hosts, dict):
        report.sections.append(("what the hosts' services said last", tails(hosts)))
    return report
