"""Identity is content: what a replicate's name is made of, and what it is not.

In: the active fields of the configuration that differ from the frozen defaults of the record format, the
seeds, the data set's fingerprint, and the hand-bumped version of each registered function used. Out: names,
space, design, replicates, resources, budget, storage, tracking, objective. So a field that is added later, a sweep
that is renamed or a grid that grows leaves every existing record valid.
"""

from __future__ import annotations

import functools
import hashlib
import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from rmt.registry import Options, Registry
from sweeps import plugins
from sweeps.choice import Choice, Closed
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


@dataclass(frozen=True)
class _Part:
    """What one section of a trial adds to its identity; `text` is the configuration inside the identity's JSON."""

    section: Closed | Choice
    configuration: Document
    versions: Mapping[str, int | str]
    text: str


class Namer:
    """Names trials and replicates; a section that many trials share is looked at once.

    The name is the digest of `trial_identity` as JSON with sorted keys. That text is put together from those of
    the sections, since each section's paths stand side by side in that order.
    """

    def __init__(self) -> None:
        # By the section's own identity; each part holds its section, so that no number is given twice.
        self._parts: dict[int, _Part] = {}
        self._ends: dict[tuple[int, bytes], tuple[Sequence[Seeds], list[bytes]]] = {}

    def parts(self, spec: TrialSpec) -> list[_Part]:
        """Of a trial's sections, in the order of their names."""
        known = self._parts
        return [
            known.get(id(section)) or self._add(name, section, spec)
            for name, section in zip(_SECTIONS, _sections_of(spec), strict=True)
        ]

    def _add(self, name: str, section: Closed | Choice, spec: TrialSpec) -> _Part:
        configuration = _named(name, _active_in(name, spec))
        part = _Part(section, configuration, _versions(name, spec), _json(configuration)[1:-1])
        self._parts[id(section)] = part
        return part

    def names(
        self, spec: TrialSpec, fingerprint: str, seeds: Sequence[Seeds]
    ) -> tuple[str, Callable[[], list[str]]]:
        """Name of a trial, the same for any number of replicates, and what gives those of its replicates."""
        parts = self.parts(spec)
        configuration = ",".join([part.text for part in parts if part.text])
        versions = tuple([one for part in parts if part.versions for one in part.versions.items()])
        before = f'{{"configuration":{{{configuration}}},"fingerprint":{_text(fingerprint)},"format":{FORMAT},'
        after = f'"versions":{_versions_text(versions)}}}'.encode()
        digest = hashlib.sha256(before.encode())
        return _continued(digest, after)[:12], functools.partial(_replicates, digest, self._with(seeds, after))

    def _with(self, seeds: Sequence[Seeds], after: bytes) -> list[bytes]:
        """How the identity's JSON ends with each of the seeds; all trials of a plan have the same ones."""
        key = (id(seeds), after)
        if key not in self._ends:
            ends = [f'"seeds":{_json(one.document())},'.encode() + after for one in seeds]
            self._ends[key] = (seeds, ends)
        return self._ends[key][1]


def _replicates(digest: hashlib._Hash, ends: list[bytes]) -> list[str]:
    return [_continued(digest, end)[:16] for end in ends]


def _continued(digest: hashlib._Hash, rest: bytes) -> str:
    whole = digest.copy()
    whole.update(rest)
    return whole.hexdigest()


_SECTIONS = tuple(sorted(TrialSpec.model_fields))
_sections_of = operator.attrgetter(*_SECTIONS)
_CHOICES_IN = {name: [prefix for prefix in CHOICES if prefix.partition(".")[0] == name] for name in _SECTIONS}


def trial_identity(spec: TrialSpec, fingerprint: str) -> Document:
    """What makes a trial this trial and no other, as a document."""
    parts = Namer().parts(spec)
    return {
        "format": FORMAT,
        "configuration": {path: value for part in parts for path, value in part.configuration.items()},
        "fingerprint": fingerprint,
        "versions": {name: version for part in parts for name, version in part.versions.items()},
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
    return Namer().names(spec, fingerprint, [])[0]


def replicate_id(spec: TrialSpec, fingerprint: str, seeds: Seeds) -> str:
    """Name of a replicate."""
    return Namer().names(spec, fingerprint, [seeds])[1]()[0]


def _json(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


@functools.lru_cache(maxsize=1024)
def _versions_text(versions: tuple[tuple[str, int | str], ...]) -> str:
    return _json(dict(versions))


@functools.lru_cache(maxsize=64)
def _text(plain: str) -> str:
    return _json(plain)


def active_fields(spec: TrialSpec) -> Document:
    """Leaves of the configuration that can make a difference.

    Without pruning no `prune.*` field can; a budget takes the place of the aggressiveness; where the data
    lies, and how it is read, makes no difference to what is in it.
    """
    return {path: value for name in TrialSpec.model_fields for path, value in _active_in(name, spec).items()}


def _active_in(name: str, spec: TrialSpec) -> Document:
    """Active leaves of one section."""
    from rmt import RULES

    if name == "prune" and not spec.is_pruned:
        return {}
    fields = _leaves(name, getattr(spec, name))
    if name == "prune":
        options = RULES[spec.prune.rule].validate(spec.prune.options)
        fields = {path: v for path, v in fields.items() if not path.startswith("prune.options.")}
        fields |= {f"prune.options.{option}": value for option, value in options.items()}
        if spec.prune.budget is not None:
            fields.pop("prune.aggressiveness")
    if name == "data":
        traits = spec.data.entry.traits
        silent = (*traits.get("location", ()), *traits.get("manner", ()))
        fields = {path: v for path, v in fields.items() if path.removeprefix("data.") not in silent}
    return fields


def _leaves(name: str, section: Closed | Choice) -> Document:
    from sweeps.document import flatten

    plain = flatten(section.model_dump(mode="json"), f"{name}.")
    return {path: value for path, value in plain.items() if value != {}}


def _named(name: str, active: Mapping[str, Any]) -> Document:
    """Fields of a section that differ from the frozen defaults; names of registered functions always count."""
    kinds = tuple((prefix, active.get(f"{prefix}.kind")) for prefix in _CHOICES_IN[name])
    keys = _default_keys(tuple(active), (*kinds, ("prune.options", active.get("prune.rule"))))
    frozen, missing = frozen_defaults(), object()
    named = zip(active.items(), keys, strict=True)
    return {path: _stripped(path, v) for (path, v), key in named if frozen.get(key, missing) != v}


@functools.lru_cache(maxsize=4096)
def _default_keys(paths: tuple[str, ...], kinds: tuple[tuple[str, Any], ...]) -> list[str]:
    """Keys of the frozen defaults: `path` for a field of the spec, `path[kind].option` for an option."""
    return [_default_key(path, kinds) for path in paths]


def _default_key(path: str, kinds: tuple[tuple[str, Any], ...]) -> str:
    for prefix, kind in kinds:
        if path.startswith(f"{prefix}."):
            option = path.removeprefix(f"{prefix}.")
            is_own = prefix in CHOICES and option in CHOICES[prefix].own_fields()
            return path if is_own else f"{prefix}[{kind}].{option}"
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

    default = TrialSpec()
    plain = {p: v for name in TrialSpec.model_fields for p, v in _leaves(name, getattr(default, name)).items()}
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


def _versions(name: str, spec: TrialSpec) -> dict[str, int | str]:
    """Version of each registered function a section uses; version 1 is not written.

    A function of a plugin has the digest of the plugin's source beside its version, since nobody bumps it there.
    """
    found: dict[str, int | str] = {}
    for role, registry, function in _used(name, spec):
        entry = registry[function]
        source = plugins.digest_of(entry.function)
        if source is not None:
            found[f"{role}:{function}"] = f"{entry.version}:{source}"
        elif entry.version != 1:
            found[f"{role}:{function}"] = entry.version
    return found


def _used(name: str, spec: TrialSpec) -> Iterator[tuple[str, Registry[Any], str]]:
    """Registered functions that a section uses: their role, registry and name."""
    from rmt import RULES
    from rmt.measures import MEASURES

    if name in ("data", "model", "initialisation"):
        choice: Choice = getattr(spec, name)
        yield name, choice.registry(), choice.kind
    elif name == "training":
        yield "optimiser", Optimiser.registry(), spec.training.optimiser.kind
        yield "schedule", Schedule.registry(), spec.training.schedule.kind
        for step in spec.training.augmentation:
            yield "augmentation", Augmentation.registry(), step.kind
    elif name == "measures":
        yield from (("measure", MEASURES, measure) for measure in spec.measures.names if measure in MEASURES)
    elif name == "prune" and spec.is_pruned:
        yield "noise", Noise.registry(), spec.prune.noise.kind
        yield from (("rule", RULES, rule) for rule in _rules(spec.prune))


def _rules(prune: Prune) -> list[str]:
    return sorted({prune.rule, *(layer.rule for layer in prune.layers if layer.rule)})
