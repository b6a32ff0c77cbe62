"""Adaptive search: points that are chosen as the sweep goes, from what the trials before them have shown."""

from sweeps.search.samplers import SEARCHERS

__all__ = ["SEARCHERS"]
