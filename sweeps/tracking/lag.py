"""What the projection has not brought to MLflow yet, and where that stands while it runs."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sweeps import storage
from sweeps.errors import StorageUnreachable
from sweeps.wording import counted

FILE = "projection.json"


@dataclass(frozen=True)
class Lag:
    """What is in the records and not in MLflow.

    Attributes:
        replicates: Replicates with something that is not projected.
        epochs: Epochs that are not projected.
        trials: Trials whose statistics are behind their replicates.
        reason: Why not, when the store is the cause.
        refused: What the store will not take, each with its words; trying again does not help.
    """

    replicates: int = 0
    epochs: int = 0
    trials: int = 0
    reason: str = ""
    refused: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether MLflow tells everything that the records do, as far as is known."""
        return self.replicates == 0 and self.trials == 0 and not self.refused and not self.reason

    def __str__(self) -> str:
        if self.is_complete:
            return "everything is in MLflow"
        behind = {"replicate": self.replicates, "epoch": self.epochs, "trial": self.trials}
        said = "not in MLflow yet: " + (
            ", ".join(counted(n, what) for what, n in behind.items() if n) or "the sweep"
        )
        said += f" ({self.reason})" if self.reason else ""
        return "\n".join([said, *(f"refused: {words}" for words in self.refused)])


def read(sweep: Path) -> Lag | None:
    """The lag as the projector last said it; None when the sweep was never projected."""
    plain = _read(sweep)
    if "replicates" not in plain:
        return None
    known = {name: plain[name] for name in ("replicates", "epochs", "trials", "reason") if name in plain}
    return Lag(**known, refused=tuple(plain.get("refused", ())))


def write(sweep: Path, lag: Lag) -> None:
    """Say the lag, for `read`."""
    _write(sweep, {"id": identity(sweep), **asdict(lag)})


def identity(sweep: Path) -> str:
    """A name that tells this sweep from another of the same name in another storage; made when first asked for."""
    known = _read(sweep).get("id")
    if isinstance(known, str):
        return known
    made = uuid.uuid4().hex
    _write(sweep, {**_read(sweep), "id": made})
    return made


def _read(sweep: Path) -> dict[str, Any]:
    try:
        plain = json.loads((sweep / FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _write(sweep: Path, plain: dict[str, Any]) -> None:
    if plain != _read(sweep):
        with suppress(StorageUnreachable):  # it is said again with the next pass
            storage.write_atomically(sweep / FILE, json.dumps(plain, indent=1) + "\n")


def unreachable(lag: Lag, reason: str) -> Lag:
    """The same lag, with its cause."""
    return replace(lag, reason=reason)
