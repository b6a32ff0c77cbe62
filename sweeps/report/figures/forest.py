"""Forest plots: for each pruned trial against its twin, what happened to the mean and what to the variance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sweeps.report.contrasts import Contrast, Estimate
from sweeps.report.drawing import Drawing, Marks, Path, Text
from sweeps.report.evidence import Evidence
from sweeps.report.figures import excess
from sweeps.report.figures.columns import Columns
from sweeps.report.panel import Panel
from sweeps.report.scales import Linear, Log, Rows, Scale
from sweeps.report.words import metric_words

LISTED = 40  # contrasts up to which each has a row with its settings
ROW = 19.0
GAP = 26.0
WIDEST_RATIO = (
    50.0  # intervals of few seeds span decades; beyond this factor they leave the picture, with an arrow
)


def forest(evidence: Evidence, contrasts: Sequence[Contrast], metric: str) -> Drawing | None:
    """Differences of means on the left, ratios of variances on the right; None if there is no contrast."""
    shown = [one for one in contrasts if one.difference or one.ratio]
    if not shown:
        return None
    listed = len(shown) <= LISTED and all(one.trial_id for one in shown)
    return _listed(evidence, shown, metric) if listed else _ordered(evidence, shown, metric)


def _listed(evidence: Evidence, shown: Sequence[Contrast], metric: str) -> Drawing:
    """A row a contrast, in the order of the objective."""
    trials = evidence.trials.set_index("trial_id", drop=False).loc[[one.trial_id for one in shown]]
    columns = Columns.of(evidence, trials)
    left, height = columns.width + 16, ROW * len(shown)
    count = 3 if excess.known(shown) else 2
    width = max(left + 280 * count, 800)
    drawing = Drawing(
        "forest", width, height + 106, "Pruned against unpruned: mean and variance", _describe(shown, metric)
    )
    columns.draw(drawing, 52, ROW)
    each = (width - left - GAP * (count - 1) - 14) / count
    panels = _panels(drawing, shown, metric, [(left + (each + GAP) * k, 52.0, each, height) for k in range(count)])
    for place, one in enumerate(shown):
        y = 52.0 + ROW * (place + 0.5)
        _interval(panels[0], evidence, one.arm, one.difference, y)
        _interval(panels[1], evidence, one.arm, _ratio(one), y)
        _excess_ratio(panels[1], one, y)
        for panel in panels[2:]:
            excess.draw(panel, evidence, one, y)
    return drawing


def _ordered(evidence: Evidence, shown: Sequence[Contrast], metric: str) -> Drawing:
    """Too many for rows: intervals side by side, each picture in the order of its own estimates."""
    drawing = Drawing("forest", 860, 560, "Pruned against unpruned: mean and variance", _describe(shown, metric))
    titles = (f"difference in mean {metric_words(metric)}", "ratio of variances")
    for place, (pick, title) in enumerate(zip((_difference, _ratio), titles, strict=True)):
        found = sorted((e for one in shown if (e := pick(one))), key=lambda e: e.value)
        scale = _difference_scale(shown) if place == 0 else _ratio_scale(shown)
        panel = Panel(drawing, 66, 24 + 266 * place, 776, 200, Linear(0, len(found) + 1, 8), scale)
        panel.frame("pruned trials, in the order of their estimates" if place else "", title, grid="y")
        panel.horizontal(float(place), "ink", (4.0, 3.0))
        segments = [[panel.at(k, e.span[0]), panel.at(k, e.span[1])] for k, e in enumerate(found, 1) if e.span]
        drawing.add(Path(segments, "blue", 1.0, opacity=0.28))
        panel.line([(k, e.value) for k, e in enumerate(found, 1)], "blue", 2.0)
    beyond = sorted(one.excess_ratio for one in shown if one.excess_ratio)
    panel.line([(k, value) for k, value in enumerate(beyond, 1)], "ink", 1.5, (5.0, 3.0))
    return drawing


def _panels(
    drawing: Drawing, shown: Sequence[Contrast], metric: str, places: Sequence[tuple[float, float, float, float]]
) -> list[Panel]:
    scales: list[Scale] = [_difference_scale(shown), _ratio_scale(shown), excess.scale(shown)]
    labels = (
        f"{metric_words(metric)}, pruned − unpruned",
        "variance, pruned ÷ unpruned",
        "sd beyond what the test set alone gives",
    )
    directions = [("← worse", "better →"), ("← calmer", "more spread →"), ("", "more spread →")]
    if metric.endswith("loss"):
        directions[0] = ("← better", "worse →")
    rows = Rows([""] * len(shown))
    panels = []
    for place, scale, label, words in zip(places, scales, labels, directions, strict=False):
        panel = Panel(drawing, *place, scale, rows)
        panel.frame(label, grid="x")
        null = 1.0 if isinstance(scale, Log) else 0.0
        panel.vertical(null, "ink", (), 1.2)
        right = panel.left + panel.width
        drawing.add(Text(panel.left, panel.top - 8, words[0], colour="muted"))
        drawing.add(Text(right, panel.top - 8, words[1], "end", colour="muted"))
        panels.append(panel)
    return panels


def _interval(panel: Panel, evidence: Evidence, name: str, estimate: Estimate | None, y: float) -> None:
    if estimate is None:
        panel.drawing.add(Text(panel.left + 6, y + 4, "no estimate", colour="muted", size=10))
        return
    arm = evidence.arms[name]
    x = panel.at(estimate.value, 0)[0]
    if estimate.span:
        ends = [panel.at(end, 0)[0] for end in estimate.span]
        panel.drawing.add(Path([[(ends[0], y), (ends[1], y)]], arm.colour, 1.6))
        for end, value, turned in zip(ends, estimate.span, (1, -1), strict=True):
            if not 0 <= panel.x.at(value) <= 1:
                panel.drawing.add(
                    Path([[(end + 5 * turned, y - 4), (end, y), (end + 5 * turned, y + 4)]], arm.colour, 1.6)
                )
    panel.drawing.add(Marks([(x, y)], arm.mark, arm.colour, 7.5))


def _excess_ratio(panel: Panel, one: Contrast, y: float) -> None:
    """The ratio beyond the test set as an open diamond; a point, since few seeds bound it by nothing."""
    if one.excess_ratio:
        panel.drawing.add(Marks([(panel.at(one.excess_ratio, 0)[0], y)], "diamond", "ink", 7, filled=False))


def _difference(one: Contrast) -> Estimate | None:
    return one.difference


def _ratio(one: Contrast) -> Estimate | None:
    return one.ratio if one.ratio and one.ratio.value > 0 else None


def _difference_scale(shown: Sequence[Contrast]) -> Linear:
    return Linear.over([0.0, *_ends(shown, _difference)], steps=3, least=1e-4)


def _ratio_scale(shown: Sequence[Contrast]) -> Log:
    values = [e.value for one in shown if (e := _ratio(one))] or [1.0]
    values += [one.excess_ratio for one in shown if one.excess_ratio]
    ends = [end for end in _ends(shown, _ratio) if end > 0]
    low = max(min([*ends, *values]), min([*values, 1.0]) / math.sqrt(WIDEST_RATIO))
    high = min(max([*ends, *values]), max([*values, 1.0]) * math.sqrt(WIDEST_RATIO))
    return Log.over([1.0, low, high], least=4.0)


def _ends(shown: Sequence[Contrast], pick: Callable[[Contrast], Estimate | None]) -> list[float]:
    found = [e for one in shown if (e := pick(one))]
    return [end for e in found for end in (e.span or (e.value,))]


def _describe(shown: Sequence[Contrast], metric: str) -> str:
    parts = []
    for one in shown[:LISTED]:
        numbers = []
        if one.difference:
            numbers.append(
                f"difference in {metric_words(metric)} {one.difference.value:+.4f}{_between(one.difference)}"
            )
        if one.ratio:
            numbers.append(f"variance ratio {one.ratio.value:.3g}{_between(one.ratio)}")
        if one.excess_ratio is not None:
            numbers.append(f"beyond the test set {one.excess_ratio:.3g}")
        parts.append(f"Trial #{one.number}: {', '.join(numbers)}.")
    return " ".join(parts)


def _between(estimate: Estimate) -> str:
    return f" ({estimate.span[0]:.3g} to {estimate.span[1]:.3g})" if estimate.span else ""
