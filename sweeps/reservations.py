"""What every answer about a sweep has to be read with: seeds added as needed, rows that are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Measured at worst, equal variances, normal and lognormal(<= 0.5) values: `benchmarks/sequential.py`.
ADAPTIVE = (
    "Seeds were added to a configuration, and to its twin with it, while its interval was wide. Statistics after "
    "such looks are a little off: in simulations ordinary 95 % intervals of a mean cover 92 % of normal and 87 % "
    "of mildly skewed means at worst, and the ratio of equal variances, of the configuration looked at over its "
    "twin, has a median of 0.92 and 0.87 at worst, its intervals covering 94 and 91 %; intervals of paired "
    "differences and the Brown–Forsythe test keep their level."
)


def reservations(plan: Mapping[str, Any], left_out: int) -> list[str]:
    """A sentence for each.

    Args:
        plan: `plan.json`.
        left_out: Recorded replicates that the plan no longer asks for.
    """
    found = [ADAPTIVE] if plan.get("until") else []
    return [*found, *([of_an_earlier_plan(left_out)] if left_out else [])]


def of_an_earlier_plan(count: int) -> str:
    """What is said of replicates that an earlier plan left behind."""
    one = count == 1
    return (
        f"{count:,} replicate{'' if one else 's'} recorded under this name {'belongs' if one else 'belong'} to an "
        f"earlier version of the plan and {'is' if one else 'are'} left out."
    )
