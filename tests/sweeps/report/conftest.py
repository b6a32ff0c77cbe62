"""One small sweep on disk for all tests of the report, and its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeps.report.document import Tables, document
from sweeps.report.evidence import Evidence, gather
from tests.sweeps.report.generator import Made, Recipe, make

SMALL: dict[str, Sequence[Any]] = {"model.widths": [[64, 64], [128, 128]], "prune.aggressiveness": [0.4, 0.8]}


def tables_of(made: Made) -> Tables:
    return Tables(made.storage, made.sweep, made.table, made.trials, made.plan, made.spectra, made.histories)


def evidence_of(made: Made) -> Evidence:
    return gather(made.sweep, made.table, made.trials, made.plan, made.spectra, made.histories)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two twins and four pruned trials of six seeds, everything finished."""
    return make(tmp_path_factory.mktemp("storage"), Recipe(grid=SMALL, seeds=6))


@pytest.fixture(scope="session")
def evidence(small: Made) -> Evidence:
    return evidence_of(small)


@pytest.fixture(scope="session")
def page(small: Made) -> str:
    return document(tables_of(small))


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"
