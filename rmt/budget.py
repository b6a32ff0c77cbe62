"""How strength is shared between layers, and how much of it a parameter budget takes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rmt.cut import Case

BISECTIONS = 20
"""Strength is settled to 1e-6: finer than one singular value of any layer."""


def allocate(cases: Sequence[Case], asked: Mapping[str, float]) -> dict[str, float]:
    """Strength of each layer, after rules that weigh layers against each other have had their say.

    Args:
        cases: Layers of one replicate.
        asked: Strength of each by the schedule; layers of one such rule with equal options and strength are
            weighed together.
    """
    strengths = dict(asked)
    groups: dict[tuple[str, str, float], list[Case]] = defaultdict(list)
    for case in cases:
        if "allocate" in case.plan.rule.traits:
            options = json.dumps(case.plan.options, sort_keys=True)
            groups[case.plan.rule.name, options, asked[case.layer.name]].append(case)
    for (_, _, strength), members in groups.items():
        plan = members[0].plan
        shared = plan.rule.traits["allocate"]([case.spectrum for case in members], strength, plan.options)
        strengths.update(zip([case.layer.name for case in members], shared, strict=True))
    return strengths


def strength_within(cases: Sequence[Case], budget: float) -> dict[str, float]:
    """The smallest common strength at which the layers together have at most `budget` parameters.

    Rules remove no less when stronger, so bisection finds it. If even strength 1 keeps more, it is 1, and every
    case gets a note that says so.

    Args:
        cases: Layers of one replicate that may be cut.
        budget: Parameters that all of them together may keep.
    """

    def at(strength: float) -> dict[str, float]:
        return allocate(cases, {case.layer.name: strength for case in cases})

    def kept(strength: float) -> int:
        strengths = at(strength)
        return sum(case.parameters_after(case.decide(strengths[case.layer.name])) for case in cases)

    if kept(0.0) <= budget:
        return at(0.0)
    least = kept(1.0)
    if least > budget:
        for case in cases:
            case.notes.append(f"the budget of {budget:.0f} parameters is out of reach: {least} stay at strength 1")
        return at(1.0)
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if kept(middle) <= budget else (middle, high)
    return at(high)
