"""What methods take for granted, and what the data say about it, in words."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sweeps.statistics import wording
from sweeps.statistics.samples import Array, is_constant

# Below this p value of Shapiro and Wilk's test a finding says that normality is doubtful. It only warns:
# choosing a method by a preliminary test would change the level of what follows.
DOUBTFUL = 0.05


@lru_cache(maxsize=16_384)
def _shapiro_wilk(sample: bytes) -> float:
    """p value of the float64 values in `sample`, which enters several findings; scipy takes half a millisecond."""
    from scipy import stats  # it takes longer to import than all else that a plan needs of scipy

    values = np.frombuffer(sample)
    centred = values - values.mean()
    return float(stats.shapiro(centred / np.abs(centred).max()).pvalue)


def independence() -> str:
    """The assumption that only the design can keep."""
    return "replicates independent: every unit has its own seed"


def normality(values: Array, what: str = "replicates", otherwise: str = "") -> str:
    """Shapiro–Wilk's test in words, `otherwise` added to a doubt; at small n it sees gross departures only."""
    if values.size < 3 or is_constant(values):
        return f"{what} roughly normal: too few to check"
    p = _shapiro_wilk(values.tobytes())
    verdict = "doubtful" if p < DOUBTFUL else "not contradicted"
    shown = f"{what} roughly normal: {verdict} (Shapiro–Wilk {wording.p_value(p)}, n = {values.size})"
    return f"{shown}; {otherwise}" if otherwise and p < DOUBTFUL else shown
