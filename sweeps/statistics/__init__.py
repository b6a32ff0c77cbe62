"""Findings over replicates: what a sweep says, with intervals, corrections and sentences.

`compare` answers the mission's question over a table of replicates; `STATISTICS` holds every statistic by
name. Both work on any table or arrays, without a sweep. Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.statistics.comparing import compare, compare_arms
    from sweeps.statistics.comparison import Comparison, Comparisons, Versus
    from sweeps.statistics.describing import describe_trials
    from sweeps.statistics.finding import Finding, Interval
    from sweeps.statistics.registered import STATISTICS
    from sweeps.statistics.rendering import presentable, render
    from sweeps.statistics.tables import associate, decompose, measures_of, rank_arms

__all__ = [
    "STATISTICS",
    "Comparison",
    "Comparisons",
    "Finding",
    "Interval",
    "Versus",
    "associate",
    "compare",
    "compare_arms",
    "decompose",
    "describe_trials",
    "measures_of",
    "presentable",
    "rank_arms",
    "render",
]

_HOMES = {
    "STATISTICS": "registered",
    "Comparison": "comparison",
    "Comparisons": "comparison",
    "Finding": "finding",
    "Interval": "finding",
    "Versus": "comparison",
    "associate": "tables",
    "compare": "comparing",
    "compare_arms": "comparing",
    "decompose": "tables",
    "describe_trials": "describing",
    "measures_of": "tables",
    "presentable": "rendering",
    "rank_arms": "tables",
    "render": "rendering",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
