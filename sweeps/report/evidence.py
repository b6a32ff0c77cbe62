"""Everything the sections and pictures draw on: the sweep's tables, ranked and labelled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps.report.arms import UNPRUNED, Arm, arm_names, arms_of
from sweeps.report.words import is_missing, setting_text, value_text
from sweeps.table import of_plan

Reader: TypeAlias = Callable[[str, str], Any]
UNREADABLE = (OSError, KeyError, ValueError)  # what a reader raises where a record has no such file
CROWD = 200  # trials beyond which points become a raster and single trials lose their labels


class Objective(NamedTuple):
    """What ranks trials: a statistic of a metric over replicates, and whether more of it is better."""

    metric: str
    statistic: str = "mean"
    mode: str = "max"

    @property
    def column(self) -> str:
        """Its column in the table of trials."""
        return f"{self.metric}.{self.statistic}"


@dataclass(frozen=True)
class Evidence:
    """The tables of one sweep, ready to be shown.

    Attributes:
        table: A row a replicate; with `arm` and `number`.
        trials: A row a trial, best first; with `arm`, `number` (1 is the best) and `short` (of the trial's id).
        plan: `plan.json`.
        dimensions: Dotted paths that were swept, with a short name for each.
        spectra: (trial id, replicate id) to the arrays of `spectra.npz`.
        histories: (trial id, replicate id) to the rows of `history.jsonl`.
        correct: By replicate id, whether it was right on each test example; None where that is not known.
        left_out: Recorded replicates that the plan no longer asks for.
    """

    sweep: str
    table: pd.DataFrame
    trials: pd.DataFrame
    plan: Mapping[str, Any]
    objective: Objective
    dimensions: Mapping[str, str]
    arms: Mapping[str, Arm]
    spectra: Reader
    histories: Reader
    correct: Mapping[str, NDArray[np.bool_]] | None = None
    left_out: int = 0

    @property
    def metric(self) -> str:
        """What arms are compared by: the test accuracy (it reports), else the objective's metric."""
        return "test_accuracy" if "test_accuracy" in self.table else self.objective.metric

    @property
    def is_crowded(self) -> bool:
        """Whether there are more trials than can be told apart in a picture."""
        return len(self.trials) > CROWD

    @property
    def best(self) -> pd.Series | None:
        """The best trial that has a value; None while there is none."""
        return _first(self.trials, self.objective)

    @property
    def best_pruned(self) -> pd.Series | None:
        """The best trial that was pruned."""
        return _first(self.trials[self.trials["arm"] != UNPRUNED], self.objective)

    def replicates(self, trial_id: str) -> pd.DataFrame:
        """Rows of one trial, ordered by seeds."""
        rows = self.table[self.table["trial_id"] == trial_id]
        return rows.sort_values([column for column in rows.columns if column.startswith("seeds.")])

    def settings(self, trial: pd.Series) -> str:
        """The trial's place in the space in words: `widths [64, 64], lr 0.02`."""
        given = ((short, trial.get(path)) for path, short in self.dimensions.items())
        return ", ".join(f"{short} {value_text(value)}" for short, value in given if not is_missing(value))


def gather(
    sweep: str,
    table: pd.DataFrame,
    trials: pd.DataFrame,
    plan: Mapping[str, Any],
    spectra: Reader,
    histories: Reader,
    correct: Mapping[str, NDArray[np.bool_]] | None = None,
    left_out: int = 0,
) -> Evidence:
    """Keep what the plan asks for, rank the trials and label them; the given tables are left as they are.

    `left_out` is the number of recorded replicates that the plan does not ask for and the table does not have.
    """
    objective = Objective(**{"metric": "validation_accuracy"} | dict(plan.get("objective") or {}))
    ranked = _with_points(rank(of_plan(trials, plan), objective), plan)
    rows = of_plan(table, plan)
    labels = ranked.set_index("trial_id")[["arm", "number"]]
    return Evidence(
        sweep=sweep,
        table=rows.join(labels, on="trial_id"),
        trials=ranked,
        plan=plan,
        objective=objective,
        dimensions=short_names(plan.get("dimensions") or []),
        arms=arms_of(ranked["arm"]),
        spectra=spectra,
        histories=histories,
        correct=correct,
        left_out=left_out + len(table) - len(rows),
    )


def _with_points(ranked: pd.DataFrame, plan: Mapping[str, Any]) -> pd.DataFrame:
    """A column for each dimension, from the plan where the dimension is a mapping and so no column of its own."""
    points = {trial["trial_id"]: trial["point"] for trial in plan["trials"]}
    absent = [path for path in plan.get("dimensions") or [] if path not in ranked]
    found = {path: [setting_text(points[trial].get(path)) for trial in ranked["trial_id"]] for path in absent}
    return pd.concat([ranked, pd.DataFrame(found, index=ranked.index)], axis=1) if found else ranked


def rank(trials: pd.DataFrame, objective: Objective) -> pd.DataFrame:
    """Trials best first; one with a diverged or failed replicate ranks behind all that have none."""
    broken = trials.get("n_diverged", 0) + trials.get("n_failed", 0)
    value = trials.get(objective.column, pd.Series(np.nan, index=trials.index)).astype(float)
    order = pd.DataFrame(
        {
            "empty": value.isna(),
            "broken": (pd.Series(broken, index=trials.index) > 0),
            "value": -value if objective.mode == "max" else value,
            "id": trials["trial_id"],
        }
    )
    places = order.sort_values(["empty", "broken", "value", "id"]).index
    ranked = trials.loc[places].reset_index(drop=True)
    return ranked.assign(
        arm=arm_names(ranked), number=np.arange(1, len(ranked) + 1), short=ranked["trial_id"].astype(str).str[:12]
    )


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest endings of dotted paths that tell them apart; `.kind` goes without saying.

    >>> short_names(["model.widths", "initialisation.kind", "training.optimiser.lr"])
    {'model.widths': 'widths', 'initialisation.kind': 'initialisation', 'training.optimiser.lr': 'lr'}
    """
    plain = {path: path.removesuffix(".kind").split(".") for path in paths}
    longest = max((len(parts) for parts in plain.values()), default=1)
    names: dict[str, str] = {}
    for path, parts in plain.items():
        endings = [".".join(parts[-length:]) for length in range(1, longest + 1)]
        others = [other for key, other in plain.items() if key != path]
        clear = [e for e in endings if all(".".join(o[-len(e.split(".")) :]) != e for o in others)]
        names[path] = clear[0] if clear else path
    return names


def _first(ranked: pd.DataFrame, objective: Objective) -> pd.Series | None:
    if objective.column not in ranked:
        return None
    valued = ranked[ranked[objective.column].notna()]
    return None if valued.empty else valued.iloc[0]
