"""One small sweep, launched as a person does it, looked at by many tests."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sweeps import document
from sweeps.cli import app
from tests.end_to_end.faults import REPOSITORY, History, undisturbed
from tests.end_to_end.faults import SPEC as DISTURBED

# Four pruned trials and three twins on few digits; one learning rate of the three can only diverge.
SPEC = """
name: small
trial:
  data: {kind: digits, validation: 300, train_size: 400}
  model: {kind: mlp, widths: [64, 64]}
  training: {epochs: 4, batch_size: 50, optimiser: {kind: sgd, lr: 0.05}}
  prune: {rule: mp_threshold, aggressiveness: 0.8, every: 2}
space:
  training.optimiser.lr: {grid: [0.05, 0.1, 1.0e+30]}
  prune.aggressiveness: {grid: [0.5, 0.8]}
replicates: {initialisation: 3}
tracking: {pictures: 0}
"""


def command(*arguments: str | Path, environment: dict[str, str] | None = None, timeout: float = 480):
    """Run `sweeps` as a program, in an environment without this machine's own addresses."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MLFLOW_", "RMT_", "TUNE_"))}
    return subprocess.run(
        [sys.executable, "-c", "from sweeps.cli import main; main()", *map(str, arguments)],
        cwd=REPOSITORY,
        env=inherited | {"COLUMNS": "200"} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass(frozen=True)
class Launched:
    """A sweep that has run: where, and what the terminal showed."""

    name: str
    storage: Path
    spec: Path
    output: str

    @property
    def folder(self) -> Path:
        return self.storage / self.name

    def ask(self, *arguments: str) -> str:
        """Output of a command on this storage, in this process; the command must succeed."""
        done = CliRunner().invoke(app, [*arguments, "--storage", str(self.storage)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout


def launch(folder: Path, text: str = SPEC, **environment: str) -> Launched:
    """Write a spec and launch it."""
    spec = folder / "spec.yaml"
    spec.write_text(text)
    storage = folder / "a place with spaces"
    done = command("run", spec, "--storage", storage, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return Launched(document.parse(text)["name"], storage, spec, done.stdout)


@pytest.fixture(scope="session")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """The small sweep, finished."""
    return launch(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, History]:
    """Histories of the sweep that faults are done to, undisturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "spec.yaml").write_text(DISTURBED)
    return undisturbed(folder / "spec.yaml", folder / "storage")
