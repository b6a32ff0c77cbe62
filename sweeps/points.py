"""The points of a sweep: draws of its design, crossed with what is crossed, less what is excluded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sweeps.assembly import Assembly, TrialValues
from sweeps.design import DESIGNS
from sweeps.errors import Problem, SpecError
from sweeps.expression import Expression, ExpressionError, parse
from sweeps.space import Point, Space, matches

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec


def space_of(spec: SweepSpec) -> Space:
    """The space with what its conditions look at.

    Raises:
        ValueError: Conditions form a circle.
    """
    return Space(spec.space, default=spec.trial.document())


def cells(spec: SweepSpec) -> list[Space]:
    """The space once for each combination of the crossed dimensions, these fixed; what is left is the design's."""
    space = space_of(spec)
    crossed = {path: space[path].levels(1) for path in spec.crossed}
    return [space.given(point) for point in space.product(crossed)] if crossed else [space]


def points_of(spec: SweepSpec, assembly: Assembly) -> list[Point]:
    """Every point of an explicit design: the same draws in each cell of the crossed dimensions.

    Raises:
        SpecError: Nothing is left after the exclusions, or an exclusion does not fit the values.
    """
    design = DESIGNS[spec.design.kind].function
    drawn = [point for cell in cells(spec) for point in design(cell, **spec.design.options)]
    exclusions = read_exclusions(spec, assembly)
    try:
        kept = [point for point in drawn if not is_excluded(point, exclusions, assembly)]
    except ExpressionError as error:
        raise SpecError([Problem("exclude", str(error))]) from None
    if not kept:
        raise SpecError([Problem("exclude", f"leaves none of the {len(drawn)} points of the design")])
    return kept


def is_excluded(point: Point, exclusions: list[Expression], assembly: Assembly) -> bool:
    """Whether a point's trial meets one of the conditions of `exclude`."""
    return bool(exclusions) and any(exclusion(TrialValues(assembly, point)) for exclusion in exclusions)


def read_exclusions(spec: SweepSpec, assembly: Assembly) -> list[Expression]:
    """The conditions of `exclude`, over everything that a trial of the sweep has.

    Raises:
        SpecError: Names each condition that can not be read, the position and what is known.
    """
    if not spec.exclude:
        return []
    seen = list(witnesses(spec, space_of(spec)))
    known = assembly.names(iter(seen)) | set(spec.space)
    samples = [TrialValues(assembly, point) for point in seen or [{}]]
    problems, read = [], []
    for number, text in enumerate(spec.exclude):
        try:
            read.append(parse(text, known))
            read[-1].require_order(samples)
        except ExpressionError as error:
            problems.append(Problem(f"exclude.{number}", str(error)))
    if problems:
        raise SpecError(problems)
    return read


def witnesses(spec: SweepSpec, space: Space) -> Iterator[Point]:
    """Points that together show every end of every dimension that can apply, where it does."""
    for path, dimension in spec.space.items():
        above = space.witness(path)
        if above is not None:
            yield from ({**above, path: value} for value in dimension.ends)


def check_conditions(spec: SweepSpec, assembly: Assembly) -> Iterator[Problem]:
    """What is wrong with the conditions of `when`: unknown paths, circles, values that never are."""
    try:
        space = space_of(spec)
    except ValueError as error:
        yield Problem("space", str(error))
        return
    known = assembly.names({path: v} for path, d in spec.space.items() for v in d.ends) | set(spec.space)
    for path, dimension in spec.space.items():
        for name, wanted in (dimension.when or {}).items():
            field = f"space.{path}.when"
            if name not in known:
                yield Problem(
                    field, f"{name} is neither a dimension nor a field of a trial; known: {_some(known)}"
                )
            elif name in spec.space and not _can_match(spec, name, wanted):
                allowed = spec.space[name].model_dump(mode="json", exclude_none=True, exclude={"when"})
                yield Problem(field, f"{name} is never {wanted!r}; it takes {allowed}")
            elif space.witness(path) is None:
                yield Problem(field, f"{name}: {wanted!r} never holds in this sweep")


def _can_match(spec: SweepSpec, name: str, wanted: object) -> bool:
    dimension = spec.space[name]
    options = [wanted, *wanted] if isinstance(wanted, list) else [wanted]
    if dimension.grid is not None:
        return any(matches(value, wanted) for value in dimension.grid)
    return any(dimension.allows(value) for value in options)


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names))


def check_design(spec: SweepSpec) -> Iterator[Problem]:
    """What is wrong between the design and the space: dimensions it can not draw or cross."""
    entry = spec.design.entry
    if spec.design.cross and spec.design.kind == "grid":
        yield Problem(
            "design.cross", "grid crosses every dimension already; leave it out, or draw with another kind"
        )
        return
    if isinstance(spec.design.cross, list):
        yield from _check_cross(spec, spec.design.cross)
    space = space_of(spec)
    for path, dimension in spec.space.items():
        if (
            path not in spec.crossed
            and not dimension.is_numeric
            and not entry.traits.get("draws_categories", True)
        ):
            message = f"{spec.design.kind} draws numbers only, not one of {dimension.grid}; allowed: an interval, "
            yield Problem(f"space.{path}", f"{message}or design.cross: [{path}]")
        drawn = space.parents(path) - set(spec.crossed) if path in spec.crossed else set()
        if drawn:
            above = ", ".join(sorted(drawn))
            message = (
                f"{path} is crossed and depends on {above}, which is drawn; cross {above} too, or draw {path}"
            )
            yield Problem("design.cross", message)


def _check_cross(spec: SweepSpec, paths: list[str]) -> Iterator[Problem]:
    listed = [path for path, dimension in spec.space.items() if dimension.grid is not None]
    for path in paths:
        if path not in listed:
            what = "is drawn from an interval" if path in spec.space else "is not a dimension"
            yield Problem(
                "design.cross", f"{path} {what}; allowed: {', '.join(listed) or 'none here'}, or `grids`"
            )
