"""Dimensions of a space: which values a dotted path of the trial may take, and where a dimension applies.

```yaml
space:
  model.widths: {grid: [[256, 256], [512, 512]]}      # these values, in this order
  training.optimiser.lr: {loguniform: [0.003, 0.05]}  # an interval, even on a logarithmic scale
  training.l2: {uniform: [0.0, 0.001], step: 0.0001}
  training.epochs: {integers: [10, 50], step: 10}
  training.batch_size: {logintegers: [16, 256]}
  prune.rule: {grid: [mp_threshold, magnitude]}
  prune.noise.beta: {uniform: [0.05, 0.5], when: {prune.rule: [mp_threshold, mp_edge]}}
```
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from annotated_types import Gt, MinLen
from pydantic import Field, model_validator

from sweeps.choice import Closed

_KINDS = ("grid", "uniform", "loguniform", "integers", "logintegers")
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
Point = dict[str, Any]
_MISSING = object()


class Dimension(Closed):
    """One dimension: exactly one of `grid`, `uniform`, `loguniform`, `integers`, `logintegers`.

    `when` maps other paths to a value, or to a list of values of which one has to be there: where one of them
    does not hold, the point has no value of this dimension.
    """

    grid: Annotated[list[Any], MinLen(1)] | None = None
    uniform: Interval | None = None
    loguniform: Interval | None = None
    integers: Interval | None = None
    logintegers: Interval | None = None
    step: Annotated[float, Gt(0)] | None = None
    when: Annotated[dict[str, Any], MinLen(1)] | None = None

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
        logarithmic = self.loguniform or self.logintegers
        if logarithmic is not None and low <= 0:
            raise ValueError(f"a logarithmic interval starts above 0; got {low:g}")
        if self.step is not None and logarithmic is not None:
            raise ValueError(f"step does not apply to {given[0]}; use uniform or integers")
        if self.is_whole and not all(float(x).is_integer() for x in (low, high, self.step or 1)):
            raise ValueError(f"{given[0]} takes whole numbers; got {[low, high]}, step {self.step}")
        return self

    def _check_grid(self, values: list[Any]) -> Self:
        if self.step is not None:
            raise ValueError("step does not apply to grid; the values are the steps")
        twice = [value for i, value in enumerate(values) if value in values[:i]]
        if twice:
            raise ValueError(f"the value {twice[0]!r} stands twice in the grid")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether it gives whole numbers."""
        return self.integers is not None or self.logintegers is not None

    @property
    def is_continuous(self) -> bool:
        """Whether no value is drawn twice."""
        return self.grid is None and not self.is_whole and self.step is None

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number."""
        return self.grid is None or all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.grid
        )

    @property
    def bounds(self) -> tuple[float, float]:
        """Both ends of an interval."""
        low, high = self.uniform or self.loguniform or self.integers or self.logintegers or (math.nan, math.nan)
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
            return min(low * (high / low) ** position, high)
        if self.logintegers is not None:
            return min(int(low * ((high + 1) / low) ** position), int(high))
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

    def allows(self, value: Any) -> bool:
        """Whether a point can have this value here."""
        if self.grid is not None:
            return value in self.grid
        low, high = self.bounds
        return isinstance(value, int | float) and low <= value <= high


class Space(Mapping[str, Dimension]):
    """The dimensions that are still free, beside values that are fixed; knows which dimensions apply where.

    Args:
        dimensions: By dotted path; iteration keeps their order.
        default: The whole default trial as a nested document, for conditions on what is no dimension.
        fixed: Values of dimensions that are chosen already.

    Raises:
        ValueError: Conditions form a circle.
    """

    def __init__(
        self,
        dimensions: Mapping[str, Dimension],
        *,
        default: Mapping[str, Any] | None = None,
        fixed: Point | None = None,
    ) -> None:
        self._all = dict(dimensions)
        self._default = default or {}
        self._fixed = fixed or {}
        self._is_conditional = any(dimension.when for dimension in self._all.values())
        self._order = self._by_dependence() if self._is_conditional else list(self._all)

    def __getitem__(self, path: str) -> Dimension:
        return self._all[path]

    def __iter__(self) -> Iterator[str]:
        return (path for path in self._all if path not in self._fixed)

    def __len__(self) -> int:
        return len(self._all) - len(self._fixed)

    def _by_dependence(self) -> list[str]:
        """Every dimension after those that it depends on, otherwise in the order given."""
        order: list[str] = []
        while left := [path for path in self._all if path not in order]:
            ready = next((path for path in left if self.parents(path) <= set(order)), None)
            if ready is None:
                raise ValueError(f"the conditions of {', '.join(left)} form a circle")
            order.append(ready)
        return order

    def parents(self, path: str) -> set[str]:
        """Dimensions whose values decide whether this one applies."""
        conditions = self._all[path].when or {}
        return {owner for name in conditions if (owner := self._owner(name)) is not None}

    def _owner(self, path: str) -> str | None:
        """The dimension that sets this path: itself, or one whose values are mappings around it."""
        parts = path.split(".")
        prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((prefix for prefix in prefixes if prefix in self._all), None)

    def given(self, fixed: Point) -> Space:
        """The same space with the values of `fixed` chosen."""
        return Space(self._all, default=self._default, fixed={**self._fixed, **fixed})

    def is_active(self, path: str, values: Mapping[str, Any]) -> bool:
        """Whether a dimension applies, given the values of those it depends on."""
        conditions = self._all[path].when
        return conditions is None or all(
            matches(self._value(name, values), wanted) for name, wanted in conditions.items()
        )

    def _value(self, path: str, values: Mapping[str, Any]) -> Any:
        owner = self._owner(path)
        if owner is None:
            return _below(self._default, path)
        if owner not in values:
            return _MISSING  # a dimension that does not apply has no value
        return values[owner] if owner == path else _below(values[owner], path.removeprefix(f"{owner}."))

    def point(self, drawn: Mapping[str, Any]) -> Point:
        """The point of these values: what is fixed, and those of the drawn that apply, in the space's order."""
        if not self._is_conditional and not self._fixed:
            return dict(drawn)
        values = dict(self._fixed)
        for path in self._order:
            if path in drawn and self.is_active(path, values):
                values[path] = drawn[path]
        return {path: values[path] for path in self._all if path in values}

    def product(self, values: Mapping[str, list[Any]]) -> list[Point]:
        """Every combination of the values of some free dimensions; one that does not apply multiplies nothing."""
        points: list[Point] = [dict(self._fixed)]
        for path in self._order:
            if path in values:
                points = [
                    longer
                    for point in points
                    for longer in (
                        ({**point, path: value} for value in values[path])
                        if self.is_active(path, point)
                        else (point,)
                    )
                ]
        if not self._is_conditional and not self._fixed:
            return points
        return [{path: point[path] for path in self._all if path in point} for point in points]

    def witness(self, path: str) -> Point | None:
        """Values of other dimensions under which this one applies; None when there are none."""
        found: Point = {}
        for name, wanted in (self._all[path].when or {}).items():
            owner = self._owner(name)
            if owner is None:
                if not matches(_below(self._default, name), wanted):
                    return None
                continue
            candidates = self._candidates(owner, name, wanted)
            chosen = next((v for v in candidates if matches(self._value(name, {owner: v}), wanted)), _MISSING)
            above = self.witness(owner)
            if chosen is _MISSING or above is None:
                return None
            found |= {**above, owner: chosen}
        return found

    def overlaps(self) -> Iterator[tuple[str, str, Any]]:
        """A dimension, one around it, and a value of that which sets the same path where both can apply."""
        for path in self._all:
            around = (above for above in self._all if path.startswith(f"{above}."))
            for above in around:
                if not self._exclude_each_other(path, above):
                    yield from ((path, above, value) for value in self._setting(above, path))

    def _setting(self, above: str, path: str) -> Iterator[Any]:
        """The first value of a dimension that sets one below it where that applies."""
        conditions = self._all[path].when or {}
        mine = {name: wanted for name, wanted in conditions.items() if self._owner(name) == above}
        for value in self._all[above].grid or []:
            applies = all(matches(self._value(name, {above: value}), wanted) for name, wanted in mine.items())
            if applies and _below(value, path.removeprefix(f"{above}.")) is not _MISSING:
                yield value
                return

    def _exclude_each_other(self, first: str, second: str) -> bool:
        """Whether two dimensions want different values of the same path."""
        mine, others = self._all[first].when or {}, self._all[second].when or {}
        return any(
            not any(matches(option, others[name]) for option in (wanted if isinstance(wanted, list) else [wanted]))
            for name, wanted in mine.items()
            if name in others
        )

    def _candidates(self, owner: str, name: str, wanted: Any) -> list[Any]:
        """Values of a dimension that a condition may ask for."""
        dimension = self._all[owner]
        if dimension.grid is not None:
            return dimension.grid
        options = wanted if isinstance(wanted, list) else [wanted]
        return [value for value in options if name == owner and dimension.allows(value)]


def matches(value: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one, or one of the wanted ones."""
    if _same(value, wanted):
        return True
    return isinstance(wanted, list) and any(_same(value, option) for option in wanted)


def _same(left: Any, right: Any) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _below(document: Any, path: str) -> Any:
    """The value at a dotted path; a registered function given by its name alone is `{kind: name}`."""
    for part in path.split("."):
        if isinstance(document, str) and part == "kind":
            return document
        if not isinstance(document, Mapping) or part not in document:
            return _MISSING
        document = document[part]
    return document
