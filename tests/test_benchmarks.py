"""Benchmarks reach into what they measure: a small run keeps them running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_what_one_driver_carries_is_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.scale", "--workers", "3", "--only", "progress"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "progress: reports of 3 workers" in done.stdout
