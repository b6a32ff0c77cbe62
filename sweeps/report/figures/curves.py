"""Learning curves: one pruned trial and its twin, every replicate."""

from __future__ import annotations

import pandas as pd

from sweeps.report.arms import Arm
from sweeps.report.drawing import Drawing, Path
from sweeps.report.evidence import UNREADABLE, Evidence
from sweeps.report.legends import Stroke, line_legend
from sweeps.report.panel import Panel
from sweeps.report.scales import Linear
from sweeps.report.words import metric_words

SIZE = "parameters_kept"


def learning_curves(evidence: Evidence, trial: pd.Series) -> Drawing | None:
    """The objective's metric, and the share of parameters kept, over epochs; None without histories."""
    metric = evidence.objective.metric
    trials = [trial["twin"], trial["trial_id"]] if isinstance(trial["twin"], str) else [trial["trial_id"]]
    known = evidence.trials.set_index("trial_id")["arm"]
    runs = {known[one]: history(evidence, one) for one in trials if one in known.index}
    runs = {arm: rows for arm, rows in runs.items() if len(rows) and {"epoch", metric} <= set(rows.columns)}
    if not runs:
        return None
    arms = {name: evidence.arms[name] for name in runs}
    drawing = Drawing(
        "curves", 860, 300, f"{metric_words(metric)} and parameters kept over epochs", _describe(runs, metric)
    )
    line_legend(drawing, [Stroke(name, arm.colour, 2.4, _dash(arm)) for name, arm in arms.items()], 66, 22)
    sizes = all(SIZE in rows for rows in runs.values())
    for place, column in enumerate([metric, SIZE] if sizes else [metric]):
        values = pd.concat([rows[column] for rows in runs.values()]).dropna()
        last = max(int(rows["epoch"].max()) for rows in runs.values())
        scale = Linear(0, 1.03, 5) if column == SIZE else Linear.over(values, steps=6, least=0.01)
        panel = Panel(drawing, 66 + 420 * place, 44, 356 if sizes else 776, 208, Linear(0, last, 6), scale)
        panel.frame("epoch", metric_words(column), grid="y")
        for name, rows in runs.items():
            _lines(panel, rows, column, arms[name])
    return drawing


def history(evidence: Evidence, trial_id: str) -> pd.DataFrame:
    """Histories of all replicates of a trial in one table with `replicate_id`; empty where none is recorded."""
    frames = []
    for replicate_id in evidence.replicates(trial_id)["replicate_id"]:
        try:
            rows = pd.DataFrame(evidence.histories(trial_id, replicate_id))
        except UNREADABLE:
            continue
        if len(rows):
            frames.append(rows.drop_duplicates("epoch").assign(replicate_id=replicate_id))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _lines(panel: Panel, rows: pd.DataFrame, column: str, arm: Arm) -> None:
    segments = [[panel.at(x, y) for x, y in _points(one, column)] for _, one in rows.groupby("replicate_id")]
    panel.drawing.add(Path(segments, arm.colour, 1.0, opacity=0.35))
    mean = rows.groupby("epoch", as_index=False)[[column]].mean()
    panel.line(_points(mean, column), arm.colour, 2.4, _dash(arm))


def _points(rows: pd.DataFrame, column: str) -> list[tuple[float, float]]:
    """(epoch, value); sizes as steps, since they are constant within an epoch."""
    pairs = [(float(x), float(y)) for x, y in rows[["epoch", column]].dropna().to_numpy()]
    return [(x - back, y) for x, y in pairs for back in (1.0, 0.0)] if column == SIZE else pairs


def _dash(arm: Arm) -> tuple[float, ...]:
    return () if arm.filled else (6.0, 3.0)


def _describe(runs: dict[str, pd.DataFrame], metric: str) -> str:
    parts = []
    for arm, rows in runs.items():
        last = rows[rows["epoch"] == rows["epoch"].max()][metric]
        parts.append(
            f"{arm}: mean {metric_words(metric)} {last.mean():.4f} in the last epoch over {len(last)} replicates."
        )
    return " ".join(parts)
