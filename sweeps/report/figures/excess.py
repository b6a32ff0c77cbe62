"""The spread beyond what a finite test set alone produces: both arms of each contrast, beside the raw ratios."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.report.arms import UNPRUNED
from sweeps.report.contrasts import Contrast, Estimate
from sweeps.report.drawing import Marks, Path, Text
from sweeps.report.evidence import Evidence
from sweeps.report.panel import Panel
from sweeps.report.scales import Linear

APART = 4.5  # pixels between the two arms of a row
CUT = 3.0  # times the largest estimate, beyond which intervals of few seeds leave the picture, with an arrow


def known(shown: Sequence[Contrast]) -> bool:
    """Whether any contrast has a spread beyond its test set."""
    return any(one.excess for one in shown)


def scale(shown: Sequence[Contrast]) -> Linear:
    """From nothing to the largest spread."""
    arms = [arm for one in shown for arm in one.excess]
    most = max([arm.value for arm in arms], default=0.0)
    ends = [min(arm.high, CUT * most) if most else arm.high for arm in arms if arm.high is not None]
    return Linear.over([0.0, most, *ends], steps=4, least=1e-4, within=(0.0, float("inf")))


def draw(panel: Panel, evidence: Evidence, one: Contrast, y: float) -> None:
    """A row: the twin above, the pruned trial below."""
    if not one.excess:
        panel.drawing.add(Text(panel.left + 6, y + 4, "not recorded", colour="muted", size=10))
        return
    for name, estimate, place in zip((UNPRUNED, one.arm), one.excess, (y - APART, y + APART), strict=True):
        _interval(panel, evidence, name, estimate, place)


def _interval(panel: Panel, evidence: Evidence, name: str, estimate: Estimate, y: float) -> None:
    arm = evidence.arms[name]
    if estimate.span:
        ends = [panel.at(end, 0)[0] for end in estimate.span]
        panel.drawing.add(Path([[(ends[0], y), (ends[1], y)]], arm.colour, 1.4, opacity=0.75))
        if panel.x.at(estimate.span[1]) > 1:
            arrow = [(ends[1] - 4, y - 3), (ends[1], y), (ends[1] - 4, y + 3)]
            panel.drawing.add(Path([arrow], arm.colour, 1.4))
    panel.drawing.add(Marks([(panel.at(estimate.value, 0)[0], y)], arm.mark, arm.colour, 6, arm.filled))
