"""YAML documents, read safely and by the rules of YAML 1.2, and dotted paths into them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from sweeps.errors import Problem, SpecError

Document = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Safe, refuses duplicate keys, and reads `off` as text and `1e-3` as a number (YAML 1.2 core schema)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                problem=f"the key {', '.join(twice)} stands twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":bool", ":float", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def parse(text: str, *, source: str = "the spec") -> Any:
    """Read one YAML document.

    Raises:
        SpecError: The text is not YAML, holds a tag (nothing is ever constructed from a tag), or a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise SpecError(f"{source} is not readable YAML: {_one_line(error)}") from None


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{getattr(error, 'problem', None) or ' '.join(str(error).split())}{place}"


def render(document: Mapping[str, Any]) -> str:
    """Write a document so that `parse` gives it back, short lists on one line."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Block mappings, flow lists: the way a person writes a spec."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style=True)


def split(path: str) -> list[str]:
    """Parts of a dotted path; the keys of `space` are dotted themselves and stay whole."""
    head, _, rest = path.partition(".")
    return [head, rest] if head == "space" and rest else path.split(".")


def assign(document: Mapping[str, Any], path: str, value: Any) -> Document:
    """A copy of `document` with `value` at the dotted `path`; missing mappings on the way are made.

    What does not lie on the path is shared with `document`, which stays as it is.

    Raises:
        SpecError: The path leads through something that is not a mapping.
    """
    *parents, last = split(path)
    result: Document = dict(document)
    place = result
    for index, part in enumerate(parents):
        below = place.get(part, {})
        if not isinstance(below, Mapping):
            here = ".".join(parents[: index + 1])
            raise SpecError([Problem(path, f"{here} is {below!r}, not a mapping that could have a field")])
        place[part] = dict(below)
        place = place[part]
    place[last] = value
    return result


def flatten(document: Mapping[str, Any], prefix: str = "") -> Document:
    """Leaves by dotted path; lists and empty mappings are leaves.

    >>> flatten({"model": {"kind": "mlp", "widths": [64, 64]}})
    {'model.kind': 'mlp', 'model.widths': [64, 64]}
    """
    leaves: Document = {}
    for key, value in document.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            leaves |= flatten(value, f"{path}.")
        else:
            leaves[path] = value
    return leaves
