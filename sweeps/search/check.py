"""What is wrong between an adaptive design and the rest of a spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sweeps.errors import Problem
from sweeps.points import cells

if TYPE_CHECKING:
    from sweeps.spec import SweepSpec


def problems(spec: SweepSpec) -> Iterator[Problem]:
    """Objectives and dimensions that the search algorithm can not follow or draw, and trials that are too few."""
    kind, trials = spec.design.kind, int(spec.design.options["trials"])
    places = cells(spec)
    if not len(places[0]):
        yield Problem(
            "space", f"leaves nothing for {kind} to draw; give it an interval, or leave out design.cross"
        )
    if trials < len(places):
        message = (
            f"{trials} leaves cells of the crossed dimensions without a trial; allowed: {len(places)} or more"
        )
        yield Problem("design.trials", message)
    if spec.budget.max_trials is not None and spec.budget.max_trials < trials:
        message = f"{spec.budget.max_trials} contradicts design.trials, {trials}; lower that instead"
        yield Problem("budget.max_trials", message)
    if len(spec.goals) > 1 and not spec.design.entry.traits.get("several", False):
        yield Problem("objectives", f"{kind} follows one objective; got {len(spec.goals)}; use nsga2, or give one")
    if spec.replicates.until is not None:
        yield Problem("replicates.until", f"seeds are not added while {kind} searches; allowed: null")
    yield from _unknown_data(spec)


def _unknown_data(spec: SweepSpec) -> Iterator[Problem]:
    """Data sets are loaded once before anything starts, so that those of an adaptive design have to be listed."""
    free = {f"data.{name}" for name in type(spec.trial.data).own_fields()}
    for path, dimension in spec.space.items():
        if path.startswith("data.") and path not in free and dimension.grid is None:
            yield Problem(f"space.{path}", f"{spec.design.kind} takes listed data sets only; allowed: grid")
