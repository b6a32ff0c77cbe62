"""A tracking server that is killed while a sweep runs, and comes back after a while or never."""

from __future__ import annotations

import re
import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from sweeps import ui
from sweeps.tracking.store import prepare
from tests.end_to_end.conftest import command
from tests.end_to_end.faults import SPEC, Driver, History, driver, kill, title
from tests.end_to_end.projected import assert_everything_is_there_once
from tests.sweeps.tracking.seen import Seen

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Store:
    """A database and the port that its server has whenever it is up."""

    uri: str
    port: int

    @classmethod
    def within(cls, folder: Path) -> Store:
        store = cls(f"sqlite:///{folder / 'server.db'}", ui.free_port())
        prepare(store.uri)
        return store

    @property
    def address(self) -> str:
        return f"http://{ui.HOST}:{self.port}"

    def kill(self) -> None:
        """End its server as if its power had failed."""
        here = [
            one
            for one in psutil.Process().children()
            if f"mlflow server --backend-store-uri {self.uri}" in title(one)
        ]
        assert len(here) == 1
        kill([*here, *here[0].children(recursive=True)])


@contextmanager
def robbed(folder: Path) -> Iterator[tuple[Driver, Store]]:
    """A sweep that trains and has begun to be projected when its server is killed."""
    store = Store.within(folder)
    with (
        ui.server(store.uri, store.port),
        driver(folder, SPEC, arguments=["--tracking-uri", store.address]) as run,
    ):
        run.wait_for(lambda: has_begun(store), "run of a replicate in MLflow")
        store.kill()
        yield run, store


def has_begun(store: Store) -> bool:
    """Whether a replicate has a run; asked often, so without MLflow."""
    with closing(sqlite3.connect(store.uri.removeprefix("sqlite:///"), timeout=60)) as database:
        [[runs]] = database.execute("SELECT count(*) FROM tags WHERE key = 'level' AND value = 'replicate'")
    return bool(runs)


def wait_for_records(run: Driver) -> None:
    run.wait_for(lambda: len(list(run.folder.glob("trials/*/*/record.json"))) == 4, "four records")


@pytest.fixture(scope="module")
def forsaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Driver, Store]]:
    """A sweep that has trained everything; its driver waits for a server that never comes back."""
    with robbed(tmp_path_factory.mktemp("forsaken")) as (run, store):
        wait_for_records(run)
        yield run, store


@pytest.mark.parametrize("seconds", [0, 20])
def test_a_server_that_is_soon_back_has_everything_once(
    tmp_path: Path, expected: dict[str, History], seconds: int
):
    with robbed(tmp_path) as (run, store):
        time.sleep(seconds)
        with ui.server(store.uri, store.port):
            shown = run.finish()
    assert "MLflow is behind" not in shown
    assert_everything_is_there_once(store.uri, run, expected)


@pytest.mark.usefixtures("forsaken")  # it waits meanwhile
def test_a_server_that_is_away_for_a_minute_is_not_waited_for_and_has_everything_once(
    tmp_path: Path, expected: dict[str, History]
):
    with robbed(tmp_path) as (run, store):
        back = time.monotonic() + 60
        wait_for_records(run)
        time.sleep(max(0.0, back - time.monotonic()))
        with ui.server(store.uri, store.port):
            shown = run.finish()
    assert "MLflow is behind" not in shown
    assert_everything_is_there_once(store.uri, run, expected)


def test_a_server_that_never_comes_back_costs_no_record_and_the_command_that_is_said_catches_up(
    forsaken: tuple[Driver, Store], expected: dict[str, History]
):
    run, store = forsaken
    shown = " ".join(run.finish().split())
    assert "trained 4 replicates" in shown
    told = re.search(
        r"MLflow is behind: not in MLflow yet: .*refused.*\. Catch up with: sweeps (sync .*?) report:", shown
    )
    assert told, shown
    assert store.address in told[1]
    assert {one.info.status for one in Seen(store.uri).runs(run.name)} >= {"RUNNING"}
    with ui.server(store.uri, store.port):
        done = command(*shlex.split(told[1]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_everything_is_there_once(store.uri, run, expected)
