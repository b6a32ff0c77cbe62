"""The plan against what came of it, and everything that went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sweeps.report.arms import arm_names
from sweeps.report.blocks import Block, Column, Entry, Listing, Paragraph, Section, Table, csv_download
from sweeps.report.evidence import Evidence
from sweeps.report.words import plural, shorten
from sweeps.statistics.failures import exact_interval
from sweeps.status import Status

REASONS = 30
BROKEN = (Status.DIVERGED, Status.FAILED, Status.STOPPED)
DEAD = "classes_never_predicted"
NOT_RECORDED = "not recorded"


def planned(evidence: Evidence) -> pd.DataFrame:
    """A row a planned replicate: trial_id, replicate_id, arm, and its status ("not recorded" without a record)."""
    rows = [
        {
            "trial_id": trial["trial_id"],
            "replicate_id": replicate["replicate_id"],
            "role": trial["role"],
            "prune.rule": trial["config"].get("prune", {}).get("rule", ""),
        }
        for trial in evidence.plan["trials"]
        for replicate in trial["replicates"]
    ]
    frame = pd.DataFrame(rows, columns=["trial_id", "replicate_id", "role", "prune.rule"])
    status = evidence.table.drop_duplicates("replicate_id").set_index("replicate_id")["status"]
    ended = frame["replicate_id"].map(dict(status)).astype(object)
    frame = frame.assign(arm=arm_names(frame), status=ended.where(ended.notna(), NOT_RECORDED))
    return frame.drop(columns=["role", "prune.rule"])


def plan_and_outcome(evidence: Evidence) -> Section:
    """How many trials and replicates were planned in each arm and how they ended."""
    rows = planned(evidence)
    statuses = [*(str(status) for status in Status), NOT_RECORDED]
    table_rows = []
    for arm, ours in [*rows.groupby("arm"), ("all", rows)]:
        counts = [f"{int((ours['status'] == status).sum()):,}" for status in statuses]
        table_rows.append([str(arm), f"{ours['trial_id'].nunique():,}", f"{len(ours):,}", *counts])
    columns = [Column("arm"), Column("trials", True), Column("replicates", True)]
    columns += [Column(status, True) for status in statuses]
    caption = "What was planned, and how each replicate ended."
    table = Table(caption, columns, table_rows, csv_download(f"{evidence.sweep}-plan", rows))
    return Section("plan", "Plan and outcome", [Paragraph(_space(evidence)), table, *_foreign(evidence)])


def _space(evidence: Evidence) -> str:
    counts = [
        f"{path} ({plural(evidence.trials[path].nunique(), 'value')})"
        for path in evidence.dimensions
        if path in evidence.trials
    ]
    swept = f"Swept: {', '.join(counts)}." if counts else "Nothing was swept: one configuration."
    twins = sum(trial["role"] == "twin" for trial in evidence.plan["trials"])
    return (
        f"{swept} {plural(twins, 'trial')} of the plan {'is' if twins == 1 else 'are'} unpruned twins."
        if twins
        else swept
    )


def _foreign(evidence: Evidence) -> list[Block]:
    if not evidence.left_out:
        return []
    return [
        Paragraph(
            f"{plural(evidence.left_out, 'replicate')} recorded under this name "
            f"{'belongs' if evidence.left_out == 1 else 'belong'} to an earlier version of the plan and "
            f"{'is' if evidence.left_out == 1 else 'are'} not in this report."
        )
    ]


def failures(evidence: Evidence, records: Mapping[str, Mapping[str, Any]]) -> Section:
    """Exact counts by arm, then reasons, then tracebacks; shown whether or not anything failed.

    Args:
        records: `record.json` of failed replicates by replicate id, as many as are to be shown.
    """
    blocks: list[Block] = [_rates(evidence)]
    broken = evidence.table[evidence.table["status"].isin([str(status) for status in BROKEN])]
    if broken.empty:
        blocks.append(Paragraph("No recorded replicate diverged, failed or was stopped."))
        return Section("failures", "Failures", blocks)
    blocks.append(_reasons(evidence, broken))
    entries = [
        Entry(f"replicate {name} of trial {shorten(str(record['trial_id']), 12)}", str(record["traceback"]))
        for name, record in records.items()
        if record.get("traceback")
    ]
    return Section("failures", "Failures", [*blocks, Listing(entries)] if entries else blocks)


def _rates(evidence: Evidence) -> Table:
    rows = []
    for arm, ours in evidence.table.groupby("arm"):
        ended, n = ours["status"].astype(str), len(ours)
        diverged, failed, stopped = (int((ended == status).sum()) for status in BROKEN)
        settled = diverged + int((ended == Status.FINISHED).sum())
        rate = exact_interval(diverged, settled, 0.95) if settled else None
        dead = str(int((ours[DEAD].fillna(0) > 0).sum())) if DEAD in ours else "—"
        share = f"{diverged / settled:.3f} [{rate.low:.3f}, {rate.high:.3f}]" if rate else "—"
        rows.append([str(arm), f"{n:,}", str(diverged), share, str(failed), str(stopped), dead])
    columns = [
        Column("arm"),
        Column("recorded", True),
        Column("diverged", True, "the loss was no longer finite"),
        Column(
            "divergence rate [95 %]", True, "of those that finished or diverged; Clopper–Pearson exact interval"
        ),
        Column("failed", True, "an error was raised; retried at the next launch"),
        Column("stopped", True, "ended early by a stopper"),
        Column("dead", True, "finished, but at least one class is never predicted"),
    ]
    caption = (
        "Replicates that did not simply finish, exact counts. Diverged, failed and stopped ones enter no mean "
        "and no comparison."
    )
    return Table(caption, columns, rows)


def _reasons(evidence: Evidence, broken: pd.DataFrame) -> Table:
    groups = broken.groupby(["status", "reason"], dropna=False)
    counted = groups.agg(count=("replicate_id", "size"), trials=("number", lambda n: sorted(set(n)))).reset_index()
    counted = counted.sort_values("count", ascending=False)
    rows = [
        [
            str(row["status"]),
            f"{row['count']:,}",
            shorten("" if pd.isna(row["reason"]) else str(row["reason"]), 300),
            shorten(", ".join(f"#{number:.0f}" for number in row["trials"]), 60),
        ]
        for _, row in counted.head(REASONS).iterrows()
    ]
    kept = ["trial_id", "replicate_id", "arm", "status", "reason"]
    more = f" The {REASONS} most frequent of {len(counted)}." if len(counted) > REASONS else ""
    return Table(
        f"Reasons.{more}",
        [Column("ended"), Column("replicates", True), Column("reason"), Column("trials")],
        rows,
        csv_download(f"{evidence.sweep}-failures", broken[kept]),
    )
