"""Sweeps over Marchenko–Pastur pruning: spec, plan, training, records, tracking, statistics.

>>> import sweeps
>>> launch = sweeps.run("examples/quickstart.yaml")  # doctest: +SKIP
>>> sweeps.best("quickstart", k=3)  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.answers import Answer, Answers
    from sweeps.launch import Launch, plan, run
    from sweeps.networks import load_model
    from sweeps.promotion import Promoted, promote
    from sweeps.query import history, replicates, spectra, trials
    from sweeps.ranking import best
    from sweeps.reporting import compare, write_paper, write_report
    from sweeps.seeds import Seeds
    from sweeps.spec import SweepSpec, load_spec
    from sweeps.status import Status
    from sweeps.trial import run_trial
    from sweeps.trial_spec import TrialSpec

# Imported on first use, so that `import sweeps` and `sweeps --help` cost neither torch nor Ray nor MLflow.
_MODULES = {
    "launch": ("Launch", "plan", "run"),
    "networks": ("load_model",),
    "promotion": ("Promoted", "promote"),
    "answers": ("Answer", "Answers"),
    "query": ("history", "replicates", "spectra", "trials"),
    "ranking": ("best",),
    "reporting": ("compare", "write_paper", "write_report"),
    "seeds": ("Seeds",),
    "spec": ("SweepSpec", "load_spec"),
    "status": ("Status",),
    "trial": ("run_trial",),
    "trial_spec": ("TrialSpec",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Answer",
    "Answers",
    "Launch",
    "Promoted",
    "Seeds",
    "Status",
    "SweepSpec",
    "TrialSpec",
    "best",
    "compare",
    "history",
    "load_model",
    "load_spec",
    "plan",
    "promote",
    "replicates",
    "run",
    "run_trial",
    "spectra",
    "trials",
    "write_paper",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sweeps' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sweeps.{_HOME[name]}"), name)
    globals()[name] = value
    return value
