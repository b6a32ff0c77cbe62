"""What the scatter comes from: sources of chance and swept dimensions, and what goes with a good seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sweeps.report.blocks import Block, Column, Paragraph, Section, Table, csv_download
from sweeps.report.evidence import Evidence
from sweeps.report.numbers import DASH
from sweeps.report.words import metric_words, plural
from sweeps.statistics import associate, decompose, wording
from sweeps.statistics.columns import varying_seeds
from sweeps.statistics.decomposition import RESIDUAL
from sweeps.statistics.nested import INTERACTIONS
from sweeps.statistics.tables import explanatory
from sweeps.status import Status

TITLE = "What the scatter comes from"
ARMS = 4  # arms up to which each is taken apart on its own
MEASURES = 25  # associations shown; the file holds all


def sources(evidence: Evidence) -> Section:
    """Shares of variance, then associations over replicates."""
    rows = evidence.table[evidence.table["status"].astype(str) == Status.FINISHED]
    if evidence.metric not in rows or len(rows) < 3:
        return Section("sources", "What the scatter comes from", [Paragraph("Too few replicates have finished.")])
    return Section(
        "sources", "What the scatter comes from", [*_shares(evidence, rows), *_associations(evidence, rows)]
    )


def _shares(evidence: Evidence, rows: pd.DataFrame) -> list[Block]:
    parts = {"all": decompose(rows, metric=evidence.metric)}
    if 1 < len(evidence.arms) <= ARMS:
        parts |= {str(arm): decompose(ours, metric=evidence.metric) for arm, ours in rows.groupby("arm")}
    known = {name: part for name, part in parts.items() if not part.empty and part["estimate"].notna().any()}
    if not known:
        why = list(dict.fromkeys(str(s).partition(": ")[2] for part in parts.values() for s in part["sentence"]))
        return [Paragraph(" ".join(text[:1].upper() + text[1:] for text in why), strong="Shares of variance.")]
    named = dict.fromkeys(str(factor) for part in known.values() for factor in part["factor"])
    factors = sorted(named, key=lambda factor: (factor == RESIDUAL, factor == INTERACTIONS))
    table_rows = [
        [_named(factor, evidence), *(_share(part, factor) for part in known.values())] for factor in factors
    ]
    columns = [Column("source"), *(Column(f"{name} [95 %]", True) for name in known)]
    frame = pd.concat([part.assign(replicates=name) for name, part in parts.items()], ignore_index=True)
    caption = (
        f"Shares of the variance of {metric_words(evidence.metric)} over finished replicates, in per cent: the "
        "scatter that each source of chance makes within a configuration, pooled over configurations, and what "
        "each swept dimension accounts for between them by itself; what dimensions do only together is in the "
        f"interactions.{_fixed(rows)} Closed form with generalised intervals over the seeds that every "
        f"configuration finished, restricted maximum likelihood without intervals where those are "
        f"few.{_over(known)}"
    )
    return [Table(caption, columns, table_rows, csv_download(f"{evidence.sweep}-shares", frame))]


def _named(factor: str, evidence: Evidence) -> str:
    """A source of chance in words, a dimension as the other tables name it."""
    if factor == RESIDUAL:
        return "the rest"
    return evidence.dimensions.get(factor) or metric_words(factor.replace("seeds.", ""))


def _over(parts: Mapping[str, pd.DataFrame]) -> str:
    """Which seeds the shares are over, where those are not all."""
    ends = {name: str(part["sentence"].iloc[-1]).partition(". Over ")[2] for name, part in parts.items()}
    return "".join(f" {name}: over {end}" for name, end in ends.items() if end)


def _share(part: pd.DataFrame, factor: str) -> str:
    found = part[part["factor"] == factor]
    if found.empty or found["estimate"].isna().all():
        return DASH
    row = found.iloc[0]
    text = wording.ratio(round(100 * float(row["estimate"]), 1))
    if pd.isna(row["low"]):
        return text
    return f"{text} [{', '.join(wording.ratio(round(100 * float(row[end]), 1)) for end in ('low', 'high'))}]"


def _fixed(rows: pd.DataFrame) -> str:
    """Sources with one seed only have no share."""
    varying = varying_seeds(rows)
    fixed = [c for c in rows.columns if str(c).startswith("seeds.") and c not in varying]
    names = [metric_words(str(column).removeprefix("seeds.")) for column in fixed]
    return f" With one seed of the {wording.listing(names)}, shares are conditional on it." if names else ""


def _associations(evidence: Evidence, rows: pd.DataFrame) -> list[Block]:
    names = explanatory(rows, evidence.metric)
    if not names:
        text = "No measure of the networks is recorded that varies (`measures` in the spec names them)."
        return [Paragraph(text, strong="Associations.")]
    frame = associate(rows, measures=names, metric=evidence.metric)
    known = frame[frame["estimate"].notna()].copy()
    if known.empty:
        text = "No trial has 5 finished replicates in which a measure varies."
        return [Paragraph(text, strong="Associations.")]
    known = known.reindex(known["estimate"].abs().sort_values(ascending=False, kind="stable").index)
    more = f" The {MEASURES} strongest of {len(known)}." if len(known) > MEASURES else ""
    caption = (
        f"What goes with a good seed: Spearman's rank correlation of {plural(len(known), 'measure')} with "
        f"{metric_words(evidence.metric)} over replicates, within trials (so that differences between "
        "configurations do not count) and averaged; p values are Holm-corrected over all of them."
        f"{more} Correlation is not cause."
    )
    numbers = ("correlation [95 %]", "p", "replicates")
    columns = [Column("measure"), *(Column(name, True) for name in numbers)]
    table_rows = [_association(row) for _, row in known.head(MEASURES).iterrows()]
    return [Table(caption, columns, table_rows, csv_download(f"{evidence.sweep}-associations", frame))]


def _association(row: pd.Series) -> Sequence[str]:
    ends = ", ".join(wording.signed(float(row[end]), 0.1) for end in ("low", "high"))
    p = row["p_corrected"]
    return [
        metric_words(str(row["measure"])),
        f"{wording.signed(float(row['estimate']), 0.1)} [{ends}]",
        DASH if pd.isna(p) else wording.p_value(float(p)).removeprefix("p = ").removeprefix("p "),
        f"{int(row['n']):,}",
    ]
