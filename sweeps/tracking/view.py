"""The views that MLflow's UI opens with: which runs, which columns, in which order.

MLflow keeps a view as an experiment tag `mlflow.sharedViewState.KEY`, opened with `viewStateShareKey=KEY` in the
link. The tag holds an envelope `{name, createdAt, updatedAt, state}`: `state` is the UI's own state as JSON text
(read in the bundle of MLflow 3.17: search facets, and the state of the runs table), `name` stands in its list of
saved views.
"""

from __future__ import annotations

import json
from typing import Any

from sweeps.tracking.source import Plan

TRIALS = "trials"
TREE = "tree"
REPLICATES = "replicates"
_TAG = "mlflow.sharedViewState."
_FACETS = {"startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs"}
_ALWAYS = ("attributes.`Run Name`", "runDateAndNestInfo", "duration")
_WRITTEN = 1_750_000_000_000  # a view does not change by being written again
STATISTICS = ("mean", "sd", "ci_low", "ci_high")


def view_tags(plan: Plan) -> dict[str, str]:
    """Tags of the experiment that hold the views of a sweep."""
    objective = f"metrics.`{plan.metric}.{plan.objective.get('statistic', 'mean')}`"
    ascending = plan.objective.get("mode") == "min"
    dimensions = [f"params.`{path}`" for path in plan.swept]
    statistics = list(dict.fromkeys([objective, *(f"metrics.`{plan.metric}.{name}`" for name in STATISTICS)]))
    counts = ["metrics.`parameters_kept.mean`", "metrics.`n`", "metrics.`n_diverged`"]
    trials = [*statistics, *dimensions, *counts, "tags.`role`", "tags.`status`"]
    last = [f"metrics.`{plan.metric}`", "metrics.`parameters_kept`"]
    replicates = [*last, *dimensions, "params.`seeds.initialisation`", "tags.`status`"]
    tree = [*statistics, last[0], *dimensions]
    views = {
        TRIALS: ("Trials, best first", "tags.level = 'trial'", objective, ascending, trials),
        REPLICATES: ("Replicates, best first", "tags.level = 'replicate'", last[0], ascending, replicates),
        TREE: ("Sweep, trials and replicates", "", "attributes.start_time", False, tree),
    }
    return {_TAG + key: _envelope(*view) for key, view in views.items()}


def _envelope(name: str, condition: str, order: str, ascending: bool, columns: list[str]) -> str:
    state: dict[str, Any] = {
        **_FACETS,
        "searchFilter": condition,
        "orderByKey": order,
        "orderByAsc": ascending,
        "selectedColumns": columns,
        "columnOrder": [*_ALWAYS, *columns],
        "columnWidths": {column: _width(column) for column in columns},
    }
    return json.dumps({"name": name, "createdAt": _WRITTEN, "updatedAt": _WRITTEN, "state": json.dumps(state)})


def _width(column: str) -> int:
    """Pixels that show the whole of a column's name: MLflow's own width cuts most of ours."""
    name = column.partition(".")[2].strip("`")
    return max(80, 34 + 7 * len(name))


def link(base: str, experiment: str, view: str = TRIALS) -> str:
    """Address of a view of an experiment in the UI at `base`."""
    query = f"workflowType=machine_learning&viewStateShareKey={view}"
    return f"{base.rstrip('/')}/#/experiments/{experiment}/runs?{query}"
