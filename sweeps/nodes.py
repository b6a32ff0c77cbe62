"""Workers that were lost, by node: `faults.jsonl` in a sweep's folder, and which nodes are avoided for it.

A node on which the workers of several trials in a row are lost, `limits.node_failures` of them, gets no more of
the sweep's trials, in later launches neither; a Ray that is started on it anew is another node. Lost means that
the process or the node was, or that something beside the configuration raised; what a configuration raises is no
fault of the node.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sweeps import storage
from sweeps.wording import counted, times

FILE = "faults.jsonl"
LOST, AVOIDED, LIFTED = "lost", "avoided", "lifted"
Event = dict[str, Any]


class Node(NamedTuple):
    """A node by Ray's name for it, and by that of its host."""

    name: str
    host: str

    def __str__(self) -> str:
        return f"{self.name[:12]} ({self.host})" if self.name else "an unknown node"


class Nodes:
    """Counts the faults of nodes during a launch, and knows which are avoided.

    Args:
        sweep: The sweep's folder.
        most: Trials in a row whose workers a node may lose before it is avoided; None: it never is.

    Attributes:
        avoided: Names of the nodes that get no more trials.
    """

    def __init__(self, sweep: Path, most: int | None) -> None:
        self._sweep, self._most = sweep, most
        self._in_a_row: dict[str, list[str]] = {}
        self.avoided = set() if most is None else _avoided(read(sweep))

    @property
    def has_lost(self) -> bool:
        """Whether a node may have a row to begin anew."""
        return bool(self._in_a_row)

    def lose(self, node: Node, trial: str, why: str) -> bool:
        """A trial's worker was lost; returns whether its node has lost too many in a row by now."""
        self._add(LOST, node, trial=trial, why=why)
        row = self._in_a_row.setdefault(node.name, [])
        if trial not in row:  # a configuration that ends its worker again and again is not the node's fault
            row.append(trial)
        return self._most is not None and len(row) >= self._most and node.name not in self.avoided

    def succeed(self, name: str) -> None:
        """A trial has ended in order on a node."""
        self._in_a_row.pop(name, None)

    def avoid(self, node: Node) -> None:
        """Give a node no more trials."""
        self._add(AVOIDED, node, trials=self._in_a_row.pop(node.name))
        self.avoided.add(node.name)

    def lift(self) -> None:
        """Avoid no node any more: there is none left without."""
        for name in sorted(self.avoided):
            self._add(LIFTED, Node(name, ""))
        self.avoided.clear()

    def _add(self, event: str, node: Node, **more: Any) -> None:
        line = {"event": event, "time": int(time.time() * 1000), "node": node.name, "host": node.host, **more}
        # Of a full disk the next record tells; the sweep goes on without a line about a worker.
        with suppress(OSError):
            storage.append(self._sweep / FILE, json.dumps(line) + "\n")


def read(sweep: Path) -> list[Event]:
    """What has happened to the workers of a sweep, in order; a line that a crash has torn is left out."""
    try:
        lines = (sweep / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [event for event in map(_parse, lines) if event is not None]


def _parse(line: str) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and {"event", "node", "host"} <= event.keys() else None


def _avoided(events: list[Event]) -> set[str]:
    names: set[str] = set()
    for event in events:
        if event["event"] == AVOIDED:
            names.add(event["node"])
        elif event["event"] == LIFTED:
            names.discard(event["node"])
    return names


def losses(sweep: Path, since: int = 0) -> int:
    """How many workers were lost since a time, in milliseconds since 1970; Ray began their trials again."""
    return sum(event["event"] == LOST and event.get("time", 0) >= since for event in read(sweep))


def told(sweep: Path, since: int | None = None) -> list[str]:
    """Sentences about the workers that were lost, and the nodes that are avoided; none if none was.

    Args:
        sweep: The sweep's folder.
        since: Count the workers that one launch has lost, from its beginning, in milliseconds since 1970; None
            for those of all launches. A node that an earlier launch avoided is avoided still, and is named.
    """
    return list(_sentences(read(sweep), since))


def _sentences(events: list[Event], since: int | None) -> Iterator[str]:
    lost = [event for event in events if event["event"] == LOST]
    if counting := [event for event in lost if since is None or event.get("time", 0) >= since]:
        by_node = {event["node"]: Node(event["node"], event["host"]) for event in counting}
        on = Counter(event["node"] for event in counting)
        where = ", ".join(f"{count} on {by_node[name]}" for name, count in on.items())
        over = " over all launches" if since is None else ""
        yield (
            f"Workers were lost {times(len(counting))}{over}, and their trials begun again as far as "
            f"limits.retries allows: {where}."
        )
    avoided = _avoided(events)
    for event in events:
        if event["event"] == AVOIDED and event["node"] in avoided:
            node, trials = Node(event["node"], event["host"]), event.get("trials", [])
            why = next((one["why"] for one in reversed(lost) if one["node"] == node.name), "")
            yield (
                f"Node {node} is avoided: the workers of {counted(len(trials), 'trial')} in a row were lost there "
                f"({', '.join(trials)}; last: {why}). Ray started on it anew is a new node, and is used again."
            )
