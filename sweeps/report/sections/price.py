"""What each launch set out to do, with its price, beside what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sweeps.progress import duration
from sweeps.report.blocks import Block, Column, Paragraph, Section, Table

LAST = 20
COLUMNS = [
    Column("launch"),
    Column("to train", True, "replicates that had no final record when it began"),
    Column("recorded", True, "replicates that have ended in it"),
    Column("how they ended"),
    Column("forked, planned", True, "trials that were to begin where a sibling had been"),
    Column("forked", True, "replicates that did"),
    Column("continued", True, "replicates that went on from a checkpoint"),
    Column("retried", True, "replicates that had failed in an earlier launch"),
    Column("workers lost", True, "times that a trial was begun again since its worker or node was"),
    Column("time planned"),
    Column("time taken", True, "from the first training's begin to the last record"),
]


def with_prices(section: Section, launches: Sequence[Mapping[str, Any]]) -> Section:
    """A section with the log of launches at its end."""
    return replace(section, blocks=[*section.blocks, *against_price(launches)])


def against_price(launches: Sequence[Mapping[str, Any]]) -> list[Block]:
    """A row a launch, and how the estimates held; nothing without a log of launches.

    Args:
        launches: As `sweeps.launches.read` gives them.
    """
    if not launches:
        return []
    shown = launches[-LAST:]
    more = f" The last {LAST} of {len(launches)}." if len(launches) > LAST else ""
    caption = f"What each launch set out to do, and what came of it.{more}"
    return [Table(caption, COLUMNS, [_row(one) for one in shown]), *_verdict(launches)]


def _row(launch: Mapping[str, Any]) -> list[str]:
    planned, outcome = launch["planned"], launch.get("outcome")
    began = f"{datetime.fromtimestamp(launch['started'] / 1000, UTC):%Y-%m-%d %H:%M}"
    to_train = f"{planned['replicates_to_train']:,}"
    to_train = f"{to_train}, more as it goes" if planned["chosen_as_it_goes"] else to_train
    forks = f"{planned.get('forks', {}).get('trials', 0):,}"
    if outcome is None:
        return [
            began,
            to_train,
            "—",
            "did not say: still running, or killed",
            forks,
            *["—"] * 4,
            _price(launch),
            "—",
        ]
    statuses = outcome["statuses"]
    ended = ", ".join(f"{count:,} {status}" for status, count in sorted(statuses.items())) or "none ended"
    if not outcome["complete"]:
        ended += f"; ended early: {outcome['why'] or 'interrupted'}"
    counts = [f"{outcome.get(name, 0):,}" for name in ("forked", "continued", "retried", "workers_lost")]
    took = duration(outcome["training_seconds"])
    return [began, to_train, f"{sum(statuses.values()):,}", ended, forks, *counts, _price(launch), took]


def _price(launch: Mapping[str, Any]) -> str:
    price = launch["planned"].get("price")
    if price is None or price["seconds"] is None:
        return "not known before"
    if price["interval"] is None:
        return f"{duration(price['seconds'])}, no interval"
    low, high = price["interval"]
    return f"{duration(price['seconds'])} [{duration(low)}, {duration(high)}]"


def _verdict(launches: Sequence[Mapping[str, Any]]) -> list[Block]:
    """How many of the intervals held, of launches that came to their end."""
    held = [
        price["interval"][0] <= launch["outcome"]["training_seconds"] <= price["interval"][1]
        for launch in launches
        if (price := launch["planned"].get("price"))
        and price["interval"]
        and launch.get("outcome", {}).get("complete")
    ]
    if not held:
        return []
    return [
        Paragraph(
            f"{sum(held)} of {len(held)} launches that came to their end took a time inside the interval they "
            "were planned with, a prediction interval of 95 % from what was recorded before."
        )
    ]
