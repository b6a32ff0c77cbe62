"""What a question about a sweep is answered with: trials with their numbers and their configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.origin import Origin
    from sweeps.spec import SweepSpec
    from sweeps.trial_spec import TrialSpec


@dataclass(frozen=True)
class Answer:
    """A trial as an answer to a question.

    Attributes:
        ranked_by: What it was chosen by, as `METRIC.STATISTIC`; several for a Pareto front.
        value: That number, the first of them.
        statistics: Mean, sd, median and intervals over its replicates, as `METRIC.STATISTIC`.
        n: Replicates behind them; `n_diverged` and `n_failed` are not among these.
        point: Values of the dimensions that make a difference to the trial.
        config: Its configuration, complete; `spec` is the same, checked and typed.
        origin: Where the answer comes from, the records or MLflow.
        group: What it is the best of, when the best of each group were asked for.
        selected_on_test: Whether the test set was used to choose it, which makes its test metrics optimistic.
    """

    trial_id: str
    ranked_by: str
    value: float
    statistics: Mapping[str, float]
    n: int
    n_diverged: int
    n_failed: int
    point: Mapping[str, Any]
    config: Mapping[str, Any]
    origin: Origin = field(repr=False, compare=False)
    group: Mapping[str, Any] = field(default_factory=dict)
    selected_on_test: bool = False

    @cached_property
    def spec(self) -> TrialSpec:
        """Its configuration, ready to be run: `sweeps.run_trial(answer.spec)`."""
        from sweeps.assembly import rebuild_trial

        return rebuild_trial(self.config, self.origin.spec)

    def document(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        named = ((one.name, getattr(self, one.name)) for one in fields(self) if one.name != "origin")
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in named}

    def to_spec(self, name: str | None = None) -> SweepSpec:
        """A sweep of this trial alone (and its twin), to launch again."""
        from sweeps.spec import build_spec

        document = build_spec(self.origin.spec()).document(resolved=True)
        document |= {
            "name": name or f"{self.origin.name}-{self.trial_id}"[:64],
            "trial": dict(self.config),
            "space": {},
            "design": {"kind": "grid"},
            "objectives": [],
        }
        return build_spec(document)


class Answers(list[Answer]):
    """Answers in order.

    Attributes:
        left_out: A sentence for everything that is not among them.
        included: A sentence where they rest on records that the present plan does not ask for.
    """

    def __init__(
        self, found: Iterable[Answer] = (), left_out: Iterable[str] = (), included: Iterable[str] = ()
    ) -> None:
        super().__init__(found)
        self.left_out, self.included = tuple(left_out), tuple(included)
