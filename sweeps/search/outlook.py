"""What an adaptive search has yet to train, as far as that is known before: how much at most, of what kind."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.errors import Problem, SpecError
from sweeps.expression import ExpressionError
from sweeps.planned import PlannedTrial
from sweeps.planning import Plan
from sweeps.search.adaptive import Search

# Draws in a row that give no new trial, before the space counts as searched through.
MOST_DRAWS = 300


@dataclass(frozen=True)
class Outlook:
    """Stand-ins for the trials of a search that are not chosen yet.

    Attributes:
        trials: For those that are left to draw, as many as there are at most, at random points of the space.
        twins: For the twins of the best that come at the end, as many as there are at most.
        left: Trials that are left to draw by the design; more than `trials` where the space has no more of them.
        has_front: Whether the twins of all trials on the front of several objectives come on top.
        ends: Trials at every end of every dimension, the smallest and the largest among them.
    """

    trials: Sequence[PlannedTrial]
    twins: Sequence[PlannedTrial]
    left: int
    has_front: bool
    ends: Sequence[PlannedTrial]

    @property
    def replicates(self) -> int:
        """Of all stand-ins."""
        return sum(len(trial.replicates) for trial in (*self.trials, *self.twins))

    def document(self) -> dict[str, Any]:
        """Plain values."""
        counts = {"trials": len(self.trials), "twins": len(self.twins), "replicates": self.replicates}
        return {"at_most": counts, "twins_of_the_front": self.has_front}


def outlook_of(search: Search) -> Outlook:
    """What a search has yet to train.

    Raises:
        SpecError: It has no trial and no point of the space gives one; or an exclusion does not fit the values.
    """
    left = search.most - len(search.trials) if search.is_open else 0
    try:
        drawn = _drawn(search, left)
    except ExpressionError as error:
        raise SpecError([Problem("exclude", str(error))]) from None
    if left and not drawn and not search.trials:
        raise _nothing(search)
    is_settled = not drawn and not search.unfinished
    several = len(search.spec.goals) > 1 and not is_settled
    twins = _twins(search, search.missing_twins() if is_settled else [*drawn, *search.unfinished])
    if not is_settled:
        twins = twins[: 0 if several else len(search.places)]
    ends = search.representatives().trials
    return Outlook(drawn, twins, left, several and search.spec.baseline, ends)


def fell_short(made: Plan) -> str:
    """That a search has ended before it had all its trials, and why; empty when it has not."""
    if made.search is None:
        return ""
    kind, most = made.spec.design.kind, made.spec.design.options["trials"]
    drawn = sum("ask" in event for event in made.search["events"])
    if drawn >= most:
        return ""
    why = f"what {kind} chose after that was excluded, no valid trial, or known already"
    return f"{kind} has found {drawn} of {most} trials in this space: {why}"


def _drawn(search: Search, count: int) -> list[PlannedTrial]:
    """Up to so many different new trials at random points, from the cells in turn."""
    generator = random.Random(0)  # a plan that is asked for twice says the same
    found: dict[str, PlannedTrial] = {}
    dropped = 0
    while len(found) < count and dropped < MOST_DRAWS:
        place = search.places[(len(found) + dropped) % len(search.places)]
        trial = search.new_trial(place.point({path: place[path].at(generator.random()) for path in place}))
        dropped = dropped + 1 if trial is None or trial.trial_id in found else 0
        if trial is not None:
            found[trial.trial_id] = trial
    return list(found.values())


def _twins(search: Search, trials: Iterable[PlannedTrial]) -> list[PlannedTrial]:
    """Twins of trials that the search does not know yet, each once."""
    if not search.spec.baseline:
        return []
    known = {*search.twins, *search.trials}
    twins = (search.twin_of(trial) for trial in trials if trial.spec.is_pruned and trial.twin not in known)
    return list({twin.trial_id: twin for twin in twins}.values())


def _nothing(search: Search) -> SpecError:
    about = f"of {MOST_DRAWS} points that were drawn from the space"
    if search.spec.exclude:
        return SpecError([Problem("exclude", f"leaves no valid trial {about}: there is nothing to search")])
    return SpecError([Problem("space", f"none {about} is a valid trial: its values do not go together")])
