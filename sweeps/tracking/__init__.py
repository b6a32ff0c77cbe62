"""The projection of records to MLflow: the only code that writes MLflow.

Records are the truth. A projector process reads them and brings MLflow up to them, so MLflow may be down, slow or
wiped: nothing is lost, the projection catches up, and its lag is said.
"""

from __future__ import annotations

from sweeps.tracking.lag import Lag
from sweeps.tracking.launch import Projector, Standby, standby, start_projector
from sweeps.tracking.session import delete, project
from sweeps.tracking.store import check, resolve_uri, store_uri

__all__ = [
    "Lag",
    "Projector",
    "Standby",
    "check",
    "delete",
    "project",
    "resolve_uri",
    "standby",
    "start_projector",
    "store_uri",
]
