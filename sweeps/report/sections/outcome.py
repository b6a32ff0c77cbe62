"""The plan against what came of it, and everything that went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sweeps.report.arms import UNPRUNED, arm_names
from sweeps.report.blocks import Block, Column, Entry, Listing, Paragraph, Section, Table, csv_download
from sweeps.report.evidence import Evidence
from sweeps.report.numbers import DASH
from sweeps.report.words import plural, shorten
from sweeps.reservations import of_an_earlier_plan
from sweeps.statistics import Finding, wording
from sweeps.statistics.describing import Broken, broken_in
from sweeps.statistics.failures import failure_difference
from sweeps.status import Status

REASONS = 30
BROKEN = (Status.DIVERGED, Status.FAILED, Status.STOPPED)
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
    return [Paragraph(of_an_earlier_plan(evidence.left_out))]


def failures(evidence: Evidence, records: Mapping[str, Mapping[str, Any]], faults: Sequence[str] = ()) -> Section:
    """Exact counts by arm, then reasons, then tracebacks; shown whether or not anything failed.

    Args:
        records: `record.json` of failed replicates by replicate id, as many as are to be shown.
        faults: Sentences about the workers and nodes that were lost.
    """
    blocks: list[Block] = [_rates(evidence), *map(Paragraph, faults)]
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
    """Counts and exact rates by arm, each against the unpruned networks."""
    broken = {str(arm): broken_in(ours) for arm, ours in evidence.table.groupby("arm")}
    baseline = broken.get(UNPRUNED)
    rows = []
    for arm, ours in evidence.table.groupby("arm"):
        ended, found = ours["status"].astype(str), broken[str(arm)]
        diverged, failed, stopped = (int((ended == status).sum()) for status in BROKEN)
        against = (None, None) if baseline is None or arm == UNPRUNED else _against(found, baseline)
        rates = [_rate(rate) for rate in [*found.rates(0.95), None][:2]]
        counts = [f"{len(ours):,}", str(diverged), rates[0], _p(against[0]), str(failed), str(stopped)]
        dead = DASH if found.dead is None else str(found.dead)
        rows.append([str(arm), *counts, dead, rates[1], _p(against[1])])
    exact = "Clopper–Pearson exact interval"
    columns = [
        Column("arm"),
        Column("recorded", True),
        Column("diverged", True, "the loss was no longer finite"),
        Column("divergence rate [95 %]", True, f"of those that finished or diverged; {exact}"),
        Column("p", True, "of the same rate as the unpruned networks; Fisher's exact test"),
        Column("failed", True, "an error was raised; retried at the next launch"),
        Column("stopped", True, "ended early by a stopper"),
        Column("dead", True, "finished, but at least one class is never predicted"),
        Column("dead rate [95 %]", True, f"of those that finished; {exact}"),
        Column("p", True, "of the same rate as the unpruned networks; Fisher's exact test"),
    ]
    caption = (
        "Replicates that did not simply finish, exact counts. Diverged, failed and stopped ones enter no mean "
        "and no comparison. Rates are of seeds over all trials of an arm (where seeds are crossed, of "
        "initialisations with such a replicate), with exact intervals; p compares with the unpruned networks "
        "(Fisher) and is not corrected."
    )
    return Table(caption, columns, rows)


def _against(arm: Broken, baseline: Broken) -> tuple[Finding, Finding | None]:
    """Differences of the rates of diverged and of dead units."""
    diverged = failure_difference(arm.diverged, arm.settled, baseline.diverged, baseline.settled)
    if arm.dead is None or baseline.dead is None:
        return diverged, None
    return diverged, failure_difference(arm.dead, arm.finished, baseline.dead, baseline.finished)


def _rate(finding: Finding | None) -> str:
    if finding is None or finding.estimate is None or finding.interval is None:
        return DASH
    return f"{finding.estimate:.3f} [{finding.interval.low:.3f}, {finding.interval.high:.3f}]"


def _p(finding: Finding | None) -> str:
    if finding is None or finding.p is None:
        return DASH
    return wording.p_value(finding.p).removeprefix("p ").removeprefix("= ")


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
