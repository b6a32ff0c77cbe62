"""The views that MLflow's UI opens with: which runs, which columns, in which order.

MLflow keeps a view as an experiment tag `mlflow.sharedViewState.KEY`, opened with `viewStateShareKey=KEY` in the
link. The tag holds an envelope `{name, createdAt, updatedAt, state}`: `state` is the UI's own state as JSON text
(read in the bundle of MLflow 3.17: search facets, and the state of the runs table), `name` stands in its list of
saved views.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sweeps.tracking.source import Plan

TRIALS = "trials"
TREE = "tree"
REPLICATES = "replicates"
CURVES = "curves"
_TAG = "mlflow.sharedViewState."
_FACETS = {"startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs"}
_ALWAYS = ("attributes.`Run Name`", "runDateAndNestInfo", "duration")
_WRITTEN = 1_750_000_000_000  # a view does not change by being written again
STATISTICS = ("mean", "sd", "ci_low", "ci_high")
CHARTED = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "parameters_kept")
LONGEST_TAG = 5000
_SECTION = "curves"


def view_tags(plan: Plan) -> dict[str, str]:
    """Tags of the experiment that hold the views of a sweep, with as many dimensions as MLflow's limit leaves."""
    swept = list(plan.swept)
    tags = _views(plan, swept)
    while swept and max(map(len, tags.values())) > LONGEST_TAG:
        swept.pop()
        tags = _views(plan, swept)
    return tags


def _views(plan: Plan, swept: Sequence[str]) -> dict[str, str]:
    objective = f"metrics.`{plan.metric}.{plan.objective.get('statistic', 'mean')}`"
    ascending = plan.objective.get("mode") == "min"
    dimensions = [f"params.`{path}`" for path in swept]
    statistics = list(dict.fromkeys([objective, *(f"metrics.`{plan.metric}.{name}`" for name in STATISTICS)]))
    counts = ["metrics.`parameters_kept.mean`", "metrics.`n`", "metrics.`n_diverged`"]
    trials = [*statistics, *dimensions, *counts, "tags.`role`", "tags.`status`"]
    last = [f"metrics.`{plan.metric}`", "metrics.`parameters_kept`"]
    replicates = [*last, "tags.`trial`", *dimensions, "params.`seeds.initialisation`", "tags.`status`"]
    tree = [*statistics, last[0], *dimensions]
    views = {
        TRIALS: ("Trials, best first", "tags.level = 'trial'", objective, ascending, trials),
        REPLICATES: ("Replicates, best first", "tags.level = 'replicate'", last[0], ascending, replicates),
        TREE: ("Sweep, trials and replicates", "", "attributes.start_time", False, tree),
    }
    tags = {_TAG + key: _envelope(*view, {}) for key, view in views.items()}
    curves = ("Curves, a line a trial", "tags.level = 'replicate'", last[0], ascending, replicates)
    return tags | {_TAG + CURVES: _envelope(*curves, _charts(plan.metric))}


def _charts(metric: str) -> dict[str, Any]:
    """Line charts of the replicates, grouped by trial: the mean of a trial's replicates in every epoch."""
    shown = list(dict.fromkeys([metric, *CHARTED]))
    card = {"type": "LINE", "runsCountToCompare": 20, "metricSectionId": _SECTION, "deleted": False}
    look = {"lineSmoothness": 0, "scaleType": "linear", "xAxisScaleType": "linear", "xAxisKey": "step"}
    section = {"name": "Curves", "display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {
        "compareRunSections": [{"uuid": _SECTION, **section}],
        "compareRunCharts": [
            {"uuid": f"{_SECTION}-{name}", "isGenerated": False, "metricKey": name, **card, **look}
            for name in shown
        ],
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "trial"}]},
    }


def _envelope(
    name: str, condition: str, order: str, ascending: bool, columns: list[str], charts: dict[str, Any]
) -> str:
    state: dict[str, Any] = {
        **_FACETS,
        "searchFilter": condition,
        "orderByKey": order,
        "orderByAsc": ascending,
        "selectedColumns": columns,
        "columnOrder": [*_ALWAYS, *columns],
        "columnWidths": {column: _width(column) for column in columns},
        **charts,
    }
    return json.dumps({"name": name, "createdAt": _WRITTEN, "updatedAt": _WRITTEN, "state": json.dumps(state)})


def _width(column: str) -> int:
    """Pixels that show the whole of a column's name: MLflow's own width cuts most of ours."""
    name = column.partition(".")[2].strip("`")
    return max(80, 34 + 7 * len(name))


def link(base: str, experiment: str, view: str = TRIALS) -> str:
    """Address of a view of an experiment in the UI at `base`."""
    query = f"workflowType=machine_learning&viewStateShareKey={view}"
    query += "&compareRunsMode=CHART" if view == CURVES else ""
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs?{query}"
