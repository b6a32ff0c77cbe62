"""Identity is content: what a replicate's name is made of, and what it is not.

In: the active fields of the configuration that differ from the frozen defaults of the record format, the
seeds, the data set's fingerprint, and the hand-bumped version of each registered function used. Out: names,
space, design, replicates, resources, storage, tracking, objective. So a field that is added later, a sweep
that is renamed or a grid that grows leaves every existing record valid.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from rmt.registry import Options, Registry
from sweeps.choice import Choice
from sweeps.document import Document
from sweeps.records import FORMAT
from sweeps.seeds import Seeds
from sweeps.trial_spec import (
    Augmentation,
    Data,
    Initialisation,
    LayerOverride,
    Model,
    Noise,
    Optimiser,
    Prune,
    Schedule,
    TrialSpec,
)

FROZEN = "frozen_defaults.json"
LAYERS = "prune.layers"
CHOICES: dict[str, type[Choice]] = {
    "data": Data,
    "model": Model,
    "initialisation": Initialisation,
    "training.optimiser": Optimiser,
    "training.schedule": Schedule,
    "prune.noise": Noise,
}


def trial_identity(spec: TrialSpec, fingerprint: str) -> Document:
    """What makes a trial this trial and no other, as a document."""
    active = active_fields(spec)
    return {
        "format": FORMAT,
        "configuration": {
            path: _stripped(path, v) for path, v in active.items() if not _is_default(path, v, active)
        },
        "fingerprint": fingerprint,
        "versions": _versions(spec),
    }


def _stripped(path: str, value: Any) -> Any:
    """A list's items without what is the frozen default, as the fields beside it are."""
    if path == "training.augmentation":
        return [_differing(f"{path}[{step['kind']}]", step) for step in value]
    if path == LAYERS:
        return [_layer(override) for override in value]
    return value


def _differing(prefix: str, item: Mapping[str, Any]) -> Document:
    missing = object()
    return {name: v for name, v in item.items() if frozen_defaults().get(f"{prefix}.{name}", missing) != v}


def _layer(override: Mapping[str, Any]) -> Document:
    """Options of a rule that the item names itself are compared with that rule's defaults."""
    options, rule = override["options"], override["rule"]
    named = _differing(f"prune.options[{rule}]", options) if rule else options
    return _differing(LAYERS, {**override, "options": named})


def trial_id(spec: TrialSpec, fingerprint: str) -> str:
    """Name of a trial: the same for any number of replicates."""
    return _digest(trial_identity(spec, fingerprint))[:12]


def replicate_id(spec: TrialSpec, fingerprint: str, seeds: Seeds) -> str:
    """Name of a replicate."""
    return _digest(trial_identity(spec, fingerprint) | {"seeds": seeds.document()})[:16]


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def active_fields(spec: TrialSpec) -> Document:
    """Leaves of the configuration that can make a difference.

    Without pruning no `prune.*` field can; a budget takes the place of the aggressiveness; where the data
    lies makes no difference to what is in it.
    """
    from rmt import RULES

    fields = _leaves(spec)
    if not spec.is_pruned:
        fields = {path: v for path, v in fields.items() if not path.startswith("prune.")}
    else:
        options = RULES[spec.prune.rule].validate(spec.prune.options)
        fields = {path: v for path, v in fields.items() if not path.startswith("prune.options.")}
        fields |= {f"prune.options.{name}": value for name, value in options.items()}
        if spec.prune.budget is not None:
            fields.pop("prune.aggressiveness")
    places = spec.data.entry.traits.get("location", ())
    return {path: v for path, v in fields.items() if path.removeprefix("data.") not in places}


def _leaves(spec: TrialSpec) -> Document:
    from sweeps.document import flatten

    return {path: value for path, value in flatten(spec.document()).items() if value != {}}


def _is_default(path: str, value: Any, active: Mapping[str, Any]) -> bool:
    """Whether the value is the frozen default; names of registered functions always count."""
    missing = object()
    return frozen_defaults().get(_default_key(path, active), missing) == value


def _default_key(path: str, active: Mapping[str, Any]) -> str:
    if path.startswith("prune.options."):
        return f"prune.options[{active['prune.rule']}].{path.removeprefix('prune.options.')}"
    for prefix, choice in CHOICES.items():
        if path.startswith(f"{prefix}."):
            option = path.removeprefix(f"{prefix}.")
            return path if option in choice.own_fields() else f"{prefix}[{active[f'{prefix}.kind']}].{option}"
    return path


@functools.cache
def frozen_defaults() -> Document:
    """Defaults as of record format 1: `path` for a field of the spec, `path[kind].option` for an option.

    The file is only ever added to. Changing a default in the code leaves it here: the new value then differs
    from the frozen one and is part of the identity, as it must be.
    """
    text = resources.files("sweeps").joinpath(FROZEN).read_text()
    defaults: Document = json.loads(text)
    return defaults


def current_defaults() -> Document:
    """Defaults as the code has them now, in the keys of `frozen_defaults`."""
    from rmt import RULES

    plain = _leaves(TrialSpec())
    choices = tuple(f"{prefix}." for prefix in CHOICES)
    own = {f"{prefix}.{name}" for prefix, choice in CHOICES.items() for name in choice.own_fields()}
    defaults = {path: v for path, v in plain.items() if path in own or not path.startswith(choices)}
    for prefix, choice in CHOICES.items():
        for kind in choice.registry():
            defaults |= _option_defaults(f"{prefix}[{kind}]", choice.registry()[kind].options)
    for rule in RULES:
        defaults |= _option_defaults(f"prune.options[{rule}]", RULES[rule].options)
    for kind in Augmentation.registry():
        defaults |= _option_defaults(f"training.augmentation[{kind}]", Augmentation.registry()[kind].options)
    named = {path: v for path, v in defaults.items() if not path.endswith((".kind", ".rule"))}
    item = LayerOverride(match="*").model_dump(mode="json", exclude={"match"})
    return dict(sorted((named | {f"{LAYERS}.{name}": value for name, value in item.items()}).items()))


def _option_defaults(prefix: str, options: type[Options]) -> Document:
    made = {
        f"{prefix}.{name}": field.get_default(call_default_factory=True)
        for name, field in options.model_fields.items()
        if not field.is_required()
    }
    plain: Document = json.loads(json.dumps(made))
    return plain


def _versions(spec: TrialSpec) -> dict[str, int]:
    """Version of each registered function the trial uses; version 1 is not written."""
    from rmt import RULES
    from rmt.measures import MEASURES

    used: list[tuple[str, Registry[Any], str]] = [
        ("data", Data.registry(), spec.data.kind),
        ("model", Model.registry(), spec.model.kind),
        ("initialisation", Initialisation.registry(), spec.initialisation.kind),
        ("optimiser", Optimiser.registry(), spec.training.optimiser.kind),
        ("schedule", Schedule.registry(), spec.training.schedule.kind),
    ]
    used += [("measure", MEASURES, name) for name in spec.measures.names if name in MEASURES]
    used += [("augmentation", Augmentation.registry(), step.kind) for step in spec.training.augmentation]
    if spec.is_pruned:
        used += [("noise", Noise.registry(), spec.prune.noise.kind)]
        used += [("rule", RULES, rule) for rule in _rules(spec.prune)]
    versions = {f"{role}:{name}": registry[name].version for role, registry, name in used}
    return {key: version for key, version in versions.items() if version != 1}


def _rules(prune: Prune) -> list[str]:
    return sorted({prune.rule, *(layer.rule for layer in prune.layers if layer.rule)})
