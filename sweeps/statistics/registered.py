"""The registry with every statistic in it: importing the modules is what registers them."""

from sweeps.statistics import (
    collapse,
    failures,
    improvement,
    location,
    many,
    paired,
    power,
    spread,
    spread_tests,
)
from sweeps.statistics.registry import STATISTICS

__all__ = [
    "STATISTICS",
    "collapse",
    "failures",
    "improvement",
    "location",
    "many",
    "paired",
    "power",
    "spread",
    "spread_tests",
]
