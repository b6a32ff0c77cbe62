"""From tables to the finished document: gather, compare, lay out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeps import launches, nodes, records
from sweeps.errors import StorageError
from sweeps.report.blocks import Section
from sweeps.report.contrasts import contrasts
from sweeps.report.evidence import Evidence, Reader, gather
from sweeps.report.page import render
from sweeps.report.sections import pictures
from sweeps.report.sections.answer import answer
from sweeps.report.sections.methods import methods
from sweeps.report.sections.outcome import NOT_RECORDED, failures, plan_and_outcome, planned
from sweeps.report.sections.price import with_prices
from sweeps.report.sections.provenance import downloads, provenance
from sweeps.report.sections.sources import sources
from sweeps.report.sections.trials import best_trials
from sweeps.report.sections.twins import against_twins
from sweeps.report.words import plural
from sweeps.status import Status

READ = 500  # records whose environment is read: enough to find a second version, cheap on a shared storage
TRACEBACKS = 20


class Log(NamedTuple):
    """What launches left behind besides records.

    Attributes:
        launches: As `sweeps.launches.read` gives them.
        nodes: As `sweeps.nodes.told` gives them.
    """

    launches: Sequence[Mapping[str, Any]] = ()
    nodes: Sequence[str] = ()


class Tables(NamedTuple):
    """What a report is made from; see `sweeps.report.write`. Without a log it is that of the storage."""

    storage: Path
    sweep: str
    table: pd.DataFrame
    trials: pd.DataFrame
    plan: Mapping[str, Any]
    spectra: Reader
    histories: Reader
    correct: Mapping[str, NDArray[np.bool_]] | None = None
    left_out: int = 0
    margin: float | None = None
    log: Log | None = None


def log_of(sweep: Path) -> Log:
    """The log in a sweep's folder."""
    return Log(launches.read(sweep), nodes.told(sweep))


def document(tables: Tables) -> str:
    """The report as HTML."""
    evidence = _evidence(tables)
    sections = list(_sections(tables, evidence))
    return render(evidence.sweep, _summary(evidence), _partial(evidence), sections)


def sections_of(tables: Tables) -> list[Section]:
    """Every section of the report, in its order."""
    return list(_sections(tables, _evidence(tables)))


def _evidence(tables: Tables) -> Evidence:
    return gather(*tables[1:9])


def _sections(tables: Tables, evidence: Evidence) -> Iterator[Section]:
    found = contrasts(evidence, tables.margin)
    folder = tables.storage / evidence.sweep
    log = tables.log or log_of(folder)
    yield answer(evidence, found)
    yield best_trials(evidence)
    yield pictures.size(evidence)
    yield against_twins(evidence, found)
    yield pictures.replicates(evidence)
    yield sources(evidence)
    yield from pictures.space(evidence)
    yield pictures.inside(evidence)
    yield failures(evidence, _tracebacks(folder, evidence), log.nodes)
    yield with_prices(plan_and_outcome(evidence), log.launches)
    yield methods(evidence, found)
    yield provenance(evidence, list(_records(folder, _spread(evidence.table, READ))), datetime.now(UTC))
    yield downloads(evidence)


def _summary(evidence: Evidence) -> str:
    trials: Sequence[Mapping[str, Any]] = evidence.plan["trials"]
    replicates = sum(len(trial["replicates"]) for trial in trials)
    today = datetime.now(UTC).strftime("%d %B %Y")
    return f"{plural(len(trials), 'trial')}, {plural(replicates, 'replicate')}, {today}"


def _partial(evidence: Evidence) -> str:
    """What is not recorded yet; a failed replicate is recorded, though launching again retries it."""
    rows = planned(evidence)
    missing = int((rows["status"] == NOT_RECORDED).sum())
    if not missing:
        return ""
    return (
        f"{len(rows) - missing:,} of {plural(len(rows), 'planned replicate')} recorded so far; "
        "every number below is of these. Verdicts may change until all are in."
    )


def _tracebacks(folder: Path, evidence: Evidence) -> dict[str, Mapping[str, Any]]:
    failed = evidence.table[evidence.table["status"] == Status.FAILED].head(TRACEBACKS)
    return {str(record["replicate_id"]): record for record in _records(folder, failed)}


def _records(folder: Path, rows: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    """Records of some rows; those that are gone or damaged by now are left out."""
    for trial, replicate in zip(rows["trial_id"], rows["replicate_id"], strict=True):
        try:
            record = records.read_record(records.replicate_folder(folder, trial, replicate))
        except StorageError:
            continue
        if record is not None:
            yield record


def _spread(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, evenly over the table."""
    return table if len(table) <= most else table.iloc[:: -(-len(table) // most)]
