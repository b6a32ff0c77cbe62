"""A sweep's runs are deleted with it, and not while somebody writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeps import tracking
from sweeps.errors import TrackingError
from sweeps.tracking.session import _alone
from tests.sweeps.tracking.recorded import SweepOnDisk
from tests.sweeps.tracking.seen import Seen


def test_deleted_sweep_leaves_its_name_free(sweep: SweepOnDisk, seen: Seen) -> None:
    sweep.replicates(0)[0].finish()
    assert tracking.project(sweep.storage, sweep.name).is_complete
    tracking.delete(sweep.storage, sweep.name)
    assert seen.client.get_experiment_by_name(sweep.name) is None
    assert tracking.project(sweep.storage, sweep.name).is_complete
    assert len(seen.level(sweep.name, "replicate")) == 1


def test_nothing_is_deleted_while_a_projector_is_at_work_whatever_store_is_named(
    sweep: SweepOnDisk, tmp_path: Path
) -> None:
    with (
        _alone(sweep.folder),
        pytest.raises(TrackingError, match=f"{sweep.name} is still being brought to MLflow.* delete it once"),
    ):
        tracking.delete(sweep.storage, sweep.name, f"sqlite:///{tmp_path / 'none.db'}", patience=0.1)
