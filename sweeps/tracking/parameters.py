"""Values of a configuration as MLflow's text, and back: nothing is cut, nothing changes its type.

MLflow holds a parameter as text of at most 6,000 characters and a tag of at most 8,000, and cuts what is longer
unless told otherwise. Here a text that is too long is stored whole, in pieces, as tags beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweeps.document import flatten

PARAMETER_LENGTH = 6_000
TAG_LENGTH = 5_000  # what every MLflow server of version 2 and 3 takes
_PIECES = "whole."


def encode(value: Any) -> str:
    """Text of a value; text itself stays bare unless it would be read back as something else.

    >>> [encode(value) for value in (0.02, [64, 64], None, "mlp", "1")]
    ['0.02', '[64, 64]', 'null', 'mlp', '"1"']
    """
    if isinstance(value, str) and not _reads_as_json(value) and storable(value) == value:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if storable(text) == text else json.dumps(value)


def decode(text: str) -> Any:
    """Inverse of `encode`."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def configuration(config: Mapping[str, Any], role: str | None) -> dict[str, Any]:
    """Leaves of a configuration that make a difference: those that the table of replicates has as columns."""
    leaves = {path: value for path, value in flatten(config).items() if value not in ({}, None)}
    if role == "pruned":
        return leaves
    return {path: v for path, v in leaves.items() if not path.startswith("prune.") or path == "prune.rule"}


def as_parameters(values: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters, and the tags that hold what is too long to be one.

    Args:
        values: Leaves of a configuration by dotted path.
    """
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}
    for path, value in values.items():
        text = encode(value)
        if len(text) > PARAMETER_LENGTH:
            tags |= _pieces(path, text)
            text = f"({len(text)} characters, whole in the tags {_PIECES}{path}.*)"
        parameters[path] = text
    return parameters, tags


def as_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Tags of texts, long ones in pieces; None is left out."""
    tags: dict[str, str] = {}
    for key, value in values.items():
        if value is None:
            continue
        text = storable(str(value))
        if len(text) > TAG_LENGTH:
            tags |= _pieces(key, text)
            text = f"({len(text)} characters, whole in the tags {_PIECES}{key}.*)"
        tags[key] = text
    return tags


def whole(key: str, text: str, tags: Mapping[str, str]) -> str:
    """The text of a parameter or tag, put together when it was stored in pieces."""
    if not text.startswith("(") or f"{_PIECES}{key}.0" not in tags:
        return text
    pieces: list[str] = []
    while (piece := tags.get(f"{_PIECES}{key}.{len(pieces)}")) is not None:
        pieces.append(piece)
    return "".join(pieces)


def storable(text: str) -> str:
    """The text with what no database takes (NUL, halves of surrogate pairs) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _pieces(key: str, text: str) -> dict[str, str]:
    starts = range(0, len(text), TAG_LENGTH)
    return {f"{_PIECES}{key}.{i}": text[start : start + TAG_LENGTH] for i, start in enumerate(starts)}
