"""The registry with every statistic in it: importing the modules is what registers them."""

from sweeps.statistics import (
    association,
    bootstrap,
    collapse,
    decomposition,
    equivalence,
    excess,
    failures,
    improvement,
    location,
    many,
    paired,
    paired_ranks,
    power,
    ranking,
    sequential,
    spread,
    spread_tests,
)
from sweeps.statistics.registry import STATISTICS

__all__ = [
    "STATISTICS",
    "association",
    "bootstrap",
    "collapse",
    "decomposition",
    "equivalence",
    "excess",
    "failures",
    "improvement",
    "location",
    "many",
    "paired",
    "paired_ranks",
    "power",
    "ranking",
    "sequential",
    "spread",
    "spread_tests",
]
