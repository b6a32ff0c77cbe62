"""What a pruner remembers of a replicate between cuts: the first fit of every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rmt.noise import NoiseFit


@dataclass
class Memory:
    """First fits by layer name; as JSON by `to_dict` and `from_dict`."""

    first_fits: dict[str, NoiseFit] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"first_fits": {name: fit.to_dict() for name, fit in self.first_fits.items()}}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Memory:
        """The memory that `to_dict` wrote."""
        return cls({name: NoiseFit(**fit) for name, fit in plain["first_fits"].items()})
