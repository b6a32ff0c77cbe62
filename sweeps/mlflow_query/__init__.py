"""Answers from MLflow, the only code that reads it: the tables of a sweep on a machine that has no records.

Columns are those of the tables made from the records. A trial's statistics stand on its own run, so the best
trials come from one query on the server, however many replicates there are. Tables of all replicates are read in
bulk: from a server as the JSON that it sends, from a database as rows.
"""

from sweeps.mlflow_query.files import artifact, artifacts
from sweeps.mlflow_query.histories import history
from sweeps.mlflow_query.replicate_table import replicates
from sweeps.mlflow_query.store import experiment, experiment_tags, require_own, run_id, tag
from sweeps.mlflow_query.trial_table import Trials, about, best, trials

__all__ = [
    "Trials",
    "about",
    "artifact",
    "artifacts",
    "best",
    "experiment",
    "experiment_tags",
    "history",
    "replicates",
    "require_own",
    "run_id",
    "tag",
    "trials",
]
