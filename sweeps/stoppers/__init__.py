"""Stoppers: early-stopping policies over trials. A trial that one ends is *stopped*, never pruned."""

from sweeps.stoppers import halving, median, single, statistical
from sweeps.stoppers.contract import STOPPERS, Curve, Look

__all__ = ["STOPPERS", "Curve", "Look", "halving", "median", "single", "statistical"]
