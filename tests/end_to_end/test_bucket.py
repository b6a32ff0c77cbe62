"""A sweep in a bucket, with its worker and its driver killed: the numbers and the answers of a folder's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sweeps
from sweeps import storage
from sweeps.bucket import Bucket
from sweeps.cli import app
from sweeps.lease import SweepIsDriven
from tests.end_to_end.faults import assert_nothing_was_lost, driver, kill, undisturbed
from tests.object_store import in_use

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(600)]
SPEC = """
name: faults
trial:
  data: {kind: digits, validation: 300, train_size: 1000}
  model: {kind: mlp, widths: [128, 128]}
  training: {epochs: 30, batch_size: 10, optimiser: {kind: sgd, lr: 0.01, momentum: 0.9}}
  prune: {rule: mp_threshold, aggressiveness: 0.8, start: 24, every: 2}
replicates: {initialisation: 2}
checkpoints: {minutes: null, epochs: 3}
tracking: {pictures: 0}
"""
ADDRESS = "s3://sweeps/runs"


@dataclass(frozen=True)
class Killed:
    """A finished sweep whose worker and driver were killed.

    Attributes:
        refused: What a second driver was told while the first was at work.
        shown: What the last driver has shown.
    """

    spec: Path
    refused: str
    shown: str


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the bucket can be used; each machine's copies are in `RMT_MIRRORS`."""
    with in_use(tmp_path_factory.mktemp("bucket")) as given:
        yield given


@pytest.fixture(scope="module")
def killed(environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder, bucket = tmp_path_factory.mktemp("killed"), Bucket(ADDRESS)

    def machine(name: str) -> dict[str, str]:
        return {**environment, "RMT_MIRRORS": str(folder / name)}

    def saved() -> set[str]:
        return {key for key in bucket.below("faults/trials") if "/checkpoint/" in key and key.endswith(".json")}

    with driver(folder, SPEC, storage=ADDRESS, environment=machine("first")) as first:
        first.wait_for(lambda: bucket.below("faults/lease"), "lease")
        with pytest.raises(SweepIsDriven) as refused:
            sweeps.run(first.spec, storage=ADDRESS)
        first.wait_for(saved, "checkpoint in the bucket")
        before = saved()
        kill(first.workers())
        first.wait_for(lambda: saved() - before, "checkpoint after the worker was lost")
        family = first.family()
        first.process.kill()
        kill(family)
    with driver(folder, SPEC, storage=ADDRESS, environment=machine("second")) as again:
        shown = again.finish()
    return Killed(again.spec, str(refused.value), shown)


def test_nothing_is_lost_and_every_number_is_that_of_a_folder(killed: Killed, tmp_path: Path) -> None:
    told = assert_nothing_was_lost(
        storage.sweep_folder(storage.resolve(ADDRESS), "faults"), undisturbed(killed.spec, tmp_path)
    )
    assert len(told) == 4
    assert any(record.get("resumed_at") for record in told)
    left = set(Bucket(ADDRESS).below("faults"))
    assert not [key for key in left if "/checkpoint/" in key or "/forks/" in key or "/lease/" in key]
    assert "MLflow is behind" not in killed.shown


def test_a_second_driver_is_refused_with_the_holders_identity(killed: Killed) -> None:
    assert "faults is being driven by process " in killed.refused
    assert f" on {os.uname().nodename} since " in killed.refused


def test_secrets_are_in_nothing_that_is_kept_or_shown(killed: Killed, environment: Mapping[str, str]) -> None:
    secret = (
        Path(environment["AWS_SHARED_CREDENTIALS_FILE"]).read_text().split("aws_secret_access_key = ")[1].strip()
    )
    assert len(secret) == 64
    bucket = Bucket(ADDRESS)
    assert not [key for key in bucket.below() if secret.encode() in (bucket.read(key) or b"")]
    assert secret not in killed.shown + killed.refused


@pytest.mark.parametrize(
    "question",
    [
        "list --json", "best faults --json", "trials faults --json", "replicates faults --json",
        "history faults", "logs faults", "du faults --json",
    ],
)  # fmt: skip
def test_answers_are_those_of_the_same_files_in_a_folder(killed: Killed, question: str, tmp_path: Path) -> None:
    bucket, folder = Bucket(ADDRESS), tmp_path / "folder"
    for key in bucket.below():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        assert bucket.fetch(key, folder / key)
    answers = [
        CliRunner().invoke(app, [*question.split(), "--storage", str(place)], catch_exceptions=False)
        for place in (ADDRESS, folder)
    ]
    assert [answer.exit_code for answer in answers] == [0, 0], answers[0].output
    assert answers[0].stdout == answers[1].stdout
    assert len(answers[0].stdout) > 20


def test_a_launch_that_finds_everything_recorded_says_so(killed: Killed) -> None:
    answer = CliRunner().invoke(app, ["plan", str(killed.spec), "--storage", ADDRESS, "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["recorded"] == {"finished": 4}
