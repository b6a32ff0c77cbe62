"""Which layers may be cut at all."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from rmt.errors import InvalidOption
from rmt.noise import NoiseFit
from rmt.options import sentence


def _yaml_off(value: object) -> object:
    # YAML 1.1 reads `off` as false.
    return "off" if value is False or value is None else value


class Gate(BaseModel):
    """Conditions a layer must meet; whoever fails one is left as it is, with the reason.

    Attributes:
        max_distance: Largest fit distance at which a layer is cut, or "off".
        unit: Whether `max_distance` is the distance itself or counts 95 % quantiles of pure noise of that size,
            since one absolute value means different things for a 64-row and a 3,000-row layer.
        skip_heads: Leave the last layer alone: its spectrum has as many values as there are classes.
        min_size: Smaller side below which a layer is left alone; laws of large matrices say little there.

    Raises:
        InvalidOption: A field is unknown, of the wrong type or out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_distance: Annotated[Annotated[float, Ge(0)] | Literal["off"], BeforeValidator(_yaml_off)] = "off"
    unit: Literal["absolute", "null_quantile"] = "absolute"
    skip_heads: bool = True
    min_size: Annotated[int, Ge(1)] = 50

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InvalidOption(sentence("gate", error)) from error

    def refusal_before_fit(self, *, head: bool, smaller: int) -> str | None:
        """Why a layer is left alone whatever its spectrum, or None."""
        if head and self.skip_heads:
            return "it is the head, which is left alone (skip_heads)"
        if smaller < self.min_size:
            return f"its smaller side is {smaller}, below {self.min_size} (min_size)"
        return None

    def refusal_after_fit(self, fit: NoiseFit) -> str | None:
        """Why a layer with this fit is left alone, or None."""
        if self.max_distance == "off":
            return None
        limit = self.max_distance
        if self.unit == "null_quantile":
            limit *= fit.distance_null_quantile
        if fit.distance <= limit:
            return None
        return f"its spectrum is {fit.distance:.4g} away from the fitted law, more than {limit:.4g} (max_distance)"
