"""Real stores for the tests of the projection."""

import pytest

from tests.sweeps.tracking.stores import (
    NOT_OURS,
    migrated_store,
    no_address_from_outside,
    seen,
    server,
    storage,
    sweep,
)

__all__ = ["migrated_store", "no_address_from_outside", "seen", "server", "storage", "sweep"]


def pytest_configure(config: pytest.Config) -> None:
    for warning in NOT_OURS:
        config.addinivalue_line("filterwarnings", warning)
