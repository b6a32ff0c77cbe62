"""What is asked of each layer: the defaults with the overrides that match its name or kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rmt.errors import InvalidOption
from rmt.estimators import NOISE, Estimator
from rmt.gate import Gate
from rmt.matrices import Layer
from rmt.options import checked
from rmt.registry import Entry
from rmt.rules import RULES, Rule

OVERRIDABLE = ("rule", "aggressiveness", "options", "noise", "gate", "min_rank")


@dataclass(frozen=True)
class LayerPlan:
    """The complete, checked wishes for one layer."""

    rule: Entry[Rule]
    options: Mapping[str, Any]
    aggressiveness: float
    noise: Entry[Estimator]
    noise_options: Mapping[str, Any]
    gate: Gate
    min_rank: int

    @property
    def needs_fit(self) -> bool:
        """Whether the rule or the gate looks at a noise fit; if not, a matrix that has none can be cut too."""
        return bool(self.rule.traits.get("fit", True)) or self.gate.max_distance != "off"


def plan_layers(
    layers: Sequence[Layer], defaults: Mapping[str, Any], overrides: Sequence[Mapping[str, Any]]
) -> dict[str, LayerPlan]:
    """A plan for each layer; of several overrides that match, later ones win field by field.

    Raises:
        InvalidOption: A field that can not be overridden, a value out of range, or a pattern that matches none.
        UnknownName: No such rule or estimator.
    """
    _plan(defaults)  # so that a module without layers has its options checked as well
    for override in overrides:
        unknown = set(override) - {"match", *OVERRIDABLE}
        if "match" not in override or unknown:
            known = ", ".join(("match", *OVERRIDABLE))
            raise InvalidOption(f"an override is {dict(override)}; it needs `match`, and may have: {known}")
        _plan(_merge(defaults, override))
        if layers and not any(_matches(override, layer) for layer in layers):
            names = ", ".join(f"{layer.name} ({layer.kind})" for layer in layers)
            raise InvalidOption(f"overrides: {override['match']!r} matches no layer; known: {names}")
    plans = {}
    for layer in layers:
        wishes = dict(defaults)
        for override in overrides:
            if _matches(override, layer):
                wishes = _merge(wishes, override)
        plans[layer.name] = _plan(wishes)
    return plans


def _matches(override: Mapping[str, Any], layer: Layer) -> bool:
    # A part's very name, such as attention[q], would be a class of characters to a glob.
    pattern = str(override["match"])
    return pattern == layer.name or any(fnmatchcase(text, pattern) for text in (layer.name, layer.kind))


def _merge(wishes: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**wishes, **{key: override[key] for key in OVERRIDABLE if key in override}}
    merged["gate"] = {**wishes["gate"], **override.get("gate", {})}
    if override.get("rule", wishes["rule"]) != wishes["rule"] and "options" not in override:
        merged["options"] = {}  # options belong to the rule they were given for
    return merged


def _plan(wishes: Mapping[str, Any]) -> LayerPlan:
    rule = RULES[wishes["rule"]]
    noise = dict(wishes["noise"])
    estimator = NOISE[noise.pop("kind", "bema_two_pass")]
    aggressiveness = 1.0 if wishes["aggressiveness"] is None else wishes["aggressiveness"]
    if not 0 <= aggressiveness <= 1:
        raise InvalidOption(f"aggressiveness is {aggressiveness}; it must lie in [0, 1]")
    if wishes["min_rank"] < 1:
        raise InvalidOption(f"min_rank is {wishes['min_rank']}; it must be at least 1")
    return LayerPlan(
        rule=rule,
        options=checked(f"rule {rule.name}", rule, wishes["options"] or {}),
        aggressiveness=float(aggressiveness),
        noise=estimator,
        noise_options=checked(f"noise {estimator.name}", estimator, noise),
        gate=Gate(**wishes["gate"]),
        min_rank=int(wishes["min_rank"]),
    )
