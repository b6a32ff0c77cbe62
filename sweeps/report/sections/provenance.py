"""Where the numbers are from, and the tables to take away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from sweeps.report.blocks import Downloads, Facts, Paragraph, Section, csv_download
from sweeps.report.evidence import Evidence
from sweeps.report.words import plural

ENVIRONMENT = ("host", "platform", "device", "threads", "commit", "dirty")
SHOWN = 4  # different values of one fact
NAMES = {"commit": "git commit", "dirty": "uncommitted changes", "threads": "threads per trial"}


def provenance(evidence: Evidence, records: Sequence[Mapping[str, Any]], made: datetime) -> Section:
    """Versions, commit, hosts and data of the records, each value with how many records have it.

    Args:
        records: `record.json` of replicates, all of them or an even choice.
        made: When the report was made.
    """
    total = len(evidence.table)
    pairs = [
        ("sweep", evidence.sweep),
        ("report made", made.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("trained", _when(evidence.table)),
        ("data fingerprint", _distinct([_fingerprint(trial) for trial in evidence.plan["trials"]])),
    ]
    if len(records) < total:
        pairs.append(("read from", f"{len(records):,} of {total:,} records, evenly chosen"))
    environments = [record.get("environment") or {} for record in records]
    pairs += [
        (NAMES.get(key, key), _distinct([_short(key, e.get(key)) for e in environments])) for key in ENVIRONMENT
    ]
    versions = [e.get("versions") or {} for e in environments]
    packages = dict.fromkeys(package for found in versions for package in found)
    pairs += [(package, _distinct([found.get(package) for found in versions])) for package in packages]
    return Section("provenance", "Provenance", [Facts([(name, text) for name, text in pairs if text])])


def downloads(evidence: Evidence) -> Section:
    """The table of replicates, from which every other number follows."""
    frame = evidence.table
    text = f"{plural(len(frame), 'row')}, one a replicate: seeds, configuration, status, every final number."
    files = [(csv_download(f"{evidence.sweep}-replicates", frame), text)]
    note = (
        "Tables above have links of their own. Files are inside this page; .csv.gz opens in pandas and R as it is."
    )
    return Section("data", "Data", [Downloads(files), Paragraph(note)])


def _fingerprint(trial: Mapping[str, Any]) -> str | None:
    found = trial.get("fingerprint")
    return None if found is None else str(found)


def _when(table: pd.DataFrame) -> str:
    if "started" not in table or table["started"].isna().all():
        return ""
    first, last = (
        datetime.fromtimestamp(float(when) / 1000, UTC).strftime("%Y-%m-%d %H:%M")
        for when in (table["started"].min(), table["ended"].max())
    )
    minutes = table["wall_seconds"].sum() / 60
    spent = f"{minutes:.3g} minutes" if minutes < 120 else f"{minutes / 60:.3g} hours"
    return f"{first} to {last} UTC, {spent} of training in all"


def _short(key: str, value: object) -> object:
    """A commit by its first twelve digits, which tell it apart."""
    return value[:12] if key == "commit" and isinstance(value, str) else value


def _distinct(values: Sequence[object]) -> str:
    """`laptop`, or `node-1 (60), node-2 (40)`."""
    texts = ({True: "yes", False: "no"}[v] if isinstance(v, bool) else str(v) for v in values if v is not None)
    counts = Counter(texts)
    if len(counts) <= 1:
        return next(iter(counts), "")
    first = ", ".join(f"{value} ({count:,} records)" for value, count in counts.most_common(SHOWN))
    return first if len(counts) <= SHOWN else f"{first} and {len(counts) - SHOWN} others"
