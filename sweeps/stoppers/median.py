"""The median rule."""

from __future__ import annotations

import math
import statistics
from typing import Annotated

from annotated_types import Ge

from sweeps.stoppers.contract import STOPPERS, Epochs, Look


@STOPPERS.register(version=1)
def median(look: Look, *, grace: Epochs = 1, least: Annotated[int, Ge(1)] = 3) -> str | None:
    """Stop a trial whose best epoch so far is worse than the median of the others' running means up to here.

    From `grace` epochs on, and once `least` others have got as far.

    Source: Golovin et al., Google Vizier, KDD 2017, section 3.2.2.
    """
    others = [curve for curve in look.others.values() if len(curve) >= look.epoch]
    if look.epoch < grace or len(others) < least:
        return None
    means = [statistics.fmean(curve.scores[: look.epoch]) for curve in others]
    middle, best = statistics.median(means), max(look.curve.scores)
    if look.score == -math.inf:
        return f"a replicate has diverged by epoch {look.epoch}: such a trial ranks last"
    if best >= middle:
        return None
    return (
        f"its best by epoch {look.epoch}, {look.said(best)}, is worse than {look.said(middle)}, "
        f"the median of the running means of {len(means)} others"
    )
