"""Dimensions of a space: which values a dotted path of the trial may take.

```yaml
space:
  model.widths: {grid: [[256, 256], [512, 512]]}      # these values, in this order
  training.optimiser.lr: {loguniform: [0.003, 0.05]}  # an interval, even on a logarithmic scale
  training.l2: {uniform: [0.0, 0.001], step: 0.0001}
  training.epochs: {integers: [10, 50], step: 10}
```
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from annotated_types import Gt, MinLen
from pydantic import Field, model_validator

from sweeps.choice import Closed

_KINDS = ("grid", "uniform", "loguniform", "integers")
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class Dimension(Closed):
    """One dimension: exactly one of `grid`, `uniform`, `loguniform`, `integers`."""

    grid: Annotated[list[Any], MinLen(1)] | None = None
    uniform: Interval | None = None
    loguniform: Interval | None = None
    integers: Interval | None = None
    step: Annotated[float, Gt(0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"a dimension is exactly one of {', '.join(_KINDS)}; got {given or 'none of them'}")
        if self.grid is not None:
            return self._check_grid(self.grid)
        low, high = self.bounds
        if low >= high:
            raise ValueError(f"the interval [{low:g}, {high:g}] is empty; give [low, high] with low < high")
        if self.loguniform is not None and low <= 0:
            raise ValueError(f"a logarithmic interval starts above 0; got {low:g}")
        if self.step is not None and self.loguniform is not None:
            raise ValueError("step does not apply to loguniform; use uniform or integers")
        if self.integers is not None and not all(float(x).is_integer() for x in (low, high, self.step or 1)):
            raise ValueError(f"integers takes whole numbers; got {self.integers}, step {self.step}")
        return self

    def _check_grid(self, values: list[Any]) -> Self:
        if self.step is not None:
            raise ValueError("step does not apply to grid; the values are the steps")
        twice = [value for i, value in enumerate(values) if value in values[:i]]
        if twice:
            raise ValueError(f"the value {twice[0]!r} stands twice in the grid")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Both ends of an interval."""
        low, high = self.uniform or self.loguniform or self.integers or (math.nan, math.nan)
        return low, high

    @property
    def ends(self) -> list[Any]:
        """What has to be valid for every point to be: each grid value, or both ends of the interval."""
        return list(self.grid) if self.grid is not None else [self.at(0.0), self.at(1.0)]

    def at(self, position: float) -> Any:
        """Value at a position in [0, 1]: the mapping that all designs share."""
        if self.grid is not None:
            return self.grid[min(int(position * len(self.grid)), len(self.grid) - 1)]
        low, high = self.bounds
        if self.loguniform is not None:
            return low * (high / low) ** position
        step = self.step or (1.0 if self.integers is not None else None)
        value = low + position * (high - low)
        if step is not None:
            count = math.floor((high - low) / step + 1e-9)  # a step of 0.1 fits ten times into 1, rounding or not
            value = float(f"{low + step * min(round(position * (count + 1) - 0.5), count):.12g}")
        return round(value) if self.integers is not None else value

    def levels(self, count: int) -> list[Any]:
        """`count` values that span the dimension evenly, both ends included; a grid gives its own values."""
        if self.grid is not None:
            return list(self.grid)
        positions = [i / (count - 1) for i in range(count)] if count > 1 else [0.5]
        return list(dict.fromkeys(self.at(position) for position in positions))
