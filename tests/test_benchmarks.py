"""Benchmarks reach into what they measure: a small one of each keeps them running."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import scale


@pytest.mark.slow
def test_the_drivers_progress_and_the_workers_histories_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale.progress(tmp_path, 3)
    scale.histories(tmp_path, 2)

    said = capsys.readouterr().out
    assert "progress: reports of 3 workers" in said
    assert len(list(tmp_path.glob("histories/*/*/history.jsonl"))) == 2 * scale.REPLICATES
