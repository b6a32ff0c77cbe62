"""How often a trial is repeated, as a spec says it."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt
from pydantic import BeforeValidator, ValidationInfo, field_validator

from sweeps.choice import Closed


def _check_seeds(given: Any) -> int | list[int]:
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) for seed in _as_list(given))
    if whole and isinstance(given, int) and given >= 1:
        return given
    if whole and isinstance(given, list) and given and min(given) >= 0 and len(set(given)) == len(given):
        return given
    raise ValueError("must be a number of seeds, 1 or more, or a list of different seeds, 0 or more")


def _as_list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


Seeds = Annotated[int | list[int], BeforeValidator(_check_seeds)]


class Until(Closed):
    """When a trial has seeds enough: its objective's interval is at most so wide, end to end, or it has `max`."""

    interval: Annotated[float, Gt(0)]
    max: Annotated[int, Ge(3)]


class Replicates(Closed):
    """How often a trial is repeated: a number of seeds, or the seeds themselves, per source of chance.

    With `until`, `initialisation` is how many a trial begins with; more are added where they are needed.
    """

    initialisation: Seeds = 5
    data_order: Seeds = 1
    split: Seeds = 1
    until: Until | None = None

    @field_validator("until")
    @classmethod
    def _can_grow(cls, until: Until | None, others: ValidationInfo) -> Until | None:
        first = others.data.get("initialisation")
        if until is None or first is None:
            return until
        if isinstance(first, list) or first < 2:
            raise ValueError(f"needs initialisation to be a number of seeds, 2 or more; got {first}")
        if until.max < first:
            raise ValueError(f"max is {until.max}, less than the {first} initialisation seeds to begin with")
        return until

    def seeds(self, source: str) -> list[int]:
        """Seeds of one source of chance."""
        given = getattr(self, source)
        return given if isinstance(given, list) else list(range(given))
