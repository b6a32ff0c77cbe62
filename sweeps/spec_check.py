"""What only a whole spec can tell: whether its parts fit each other."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sweeps import points
from sweeps.assembly import Assembly
from sweeps.errors import Problem, SpecError
from sweeps.metrics import LEVELS
from sweeps.seeds import SOURCES
from sweeps.space import Space
from sweeps.trial_spec import TrialSpec

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec


def problems_of(spec: SweepSpec) -> Iterable[Problem]:
    """What is wrong with a spec whose fields are each right: budget, conditions, both ends of every dimension.

    The same problem may come more than once, from several dimensions.
    """
    yield from _check_budget(spec)
    yield from _check_gpus(spec)
    yield from _check_pack(spec)
    nowhere = list(_check_paths(spec))
    yield from nowhere
    if nowhere:
        return
    assembly = Assembly(spec.trial_document())
    conditions = list(points.check_conditions(spec, assembly))
    yield from conditions
    if conditions:
        return
    yield from points.check_design(spec)
    yield from _check_overlaps(points.space_of(spec))
    try:
        points.read_exclusions(spec, assembly)
    except SpecError as error:
        yield from error.problems
    yield from _check_space(spec, points.space_of(spec))
    yield from _check_stopper(spec)
    yield from _check_goals(spec)
    yield from _check_search(spec)


def _check_paths(spec: SweepSpec) -> Iterable[Problem]:
    """Dimensions that lead into no section of a trial."""
    sections = list(TrialSpec.model_fields)
    for path in spec.space:
        first, _, rest = path.removeprefix("trial.").partition(".")
        if path.partition(".")[0] in sections:
            continue
        close = difflib.get_close_matches(first, sections, n=1)
        hint = f"did you mean {'.'.join(filter(None, (close[0], rest)))}? " if close else ""
        message = f"{path!r} leads into no section of a trial; {hint}known sections: {', '.join(sections)}"
        yield Problem(f"space.{path}", message)


def _check_overlaps(space: Space) -> Iterable[Problem]:
    """Dimensions that set the same path at once: a trial would be told by two values and have one."""
    for below, above, value in space.overlaps():
        message = (
            f"is set by the dimension {above} too, where that is {value}; leave {below.removeprefix(above)[1:]} "
            f"out of the values of {above}, or {below} out of the space"
        )
        yield Problem(f"space.{below}", message)


def _check_budget(spec: SweepSpec) -> Iterable[Problem]:
    if spec.budget.max_trials == 1 and spec.baseline and spec.trial.is_pruned:
        message = "1 has no room for a pruned trial and its twin; allowed: 2 or more, or baseline: false"
        yield Problem("budget.max_trials", message)
    if spec.budget.max_gpu_hours is not None and not spec.resources.gpus:
        message = "without a GPU it limits nothing; allowed: with resources.gpus above 0, or null"
        yield Problem("budget.max_gpu_hours", message)


def _check_gpus(spec: SweepSpec) -> Iterable[Problem]:
    gpus = spec.resources.gpus
    if gpus > 1 and gpus != int(gpus):
        message = (
            f"{gpus:g} is no number of GPUs that Ray gives out; allowed: 0, a share below 1, or a whole number"
        )
        yield Problem("resources.gpus", message)


def _check_pack(spec: SweepSpec) -> Iterable[Problem]:
    pack, stack = spec.resources.pack, spec.resources.stack
    if not isinstance(pack, int):
        return
    if spec.design.is_adaptive:
        message = f"{pack} at once, and {spec.design.kind} chooses one by one; allowed: auto or never"
        yield Problem("resources.pack", message)
    if isinstance(stack, int) and stack < pack:
        message = (
            f"{pack} trials are more than {stack} replicates (resources.stack); allowed: up to {stack}, or auto"
        )
        yield Problem("resources.pack", message)


def _check_space(spec: SweepSpec, space: Space) -> Iterable[Problem]:
    # What only the whole trial can tell is left to the plan where a point may be excluded for it.
    build = Assembly(spec.trial_document()).check if spec.exclude else spec.trial_at
    for path, dimension in spec.space.items():
        above = space.witness(path) or {}
        for value in dimension.ends:
            try:
                build({**above, path: value})
            except SpecError as error:
                # Another dimension may be what makes this value valid (epochs and a pruning interval): the
                # plan checks whole points, here only what is wrong about this path is reported.
                yield from (
                    Problem(f"space.{path}", p.message if p.path == path else str(p))
                    for p in error.problems
                    if _concerns(p.path, path)
                )


def _concerns(problem: str, path: str) -> bool:
    return problem == path or problem.startswith(f"{path}.") or path.startswith(f"{problem}.")


def _check_stopper(spec: SweepSpec) -> Iterable[Problem]:
    if spec.stopper is not None:
        from sweeps.stoppers.check import problems

        yield from problems(spec)


def _check_goals(spec: SweepSpec) -> Iterable[Problem]:
    count = math.prod(len(spec.replicates.seeds(source)) for source in SOURCES)
    for goal in spec.goals:
        if count < 2 and goal.statistic not in LEVELS:
            message = f"{goal.metric}.{goal.statistic} needs 2 or more replicates of a trial; got {count}"
            yield Problem("replicates", message)


def _check_search(spec: SweepSpec) -> Iterable[Problem]:
    if spec.design.is_adaptive:
        from sweeps.search.check import problems

        yield from problems(spec)
    elif len(spec.objectives) > 1:
        message = (
            f"{len(spec.objectives)} are followed by a search algorithm only; got design.kind {spec.design.kind}"
        )
        yield Problem("objectives", message)
