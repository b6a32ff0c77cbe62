"""Options of registered functions, checked with messages that name the fault and the choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rmt.errors import InvalidOption
from rmt.registry import Entry


def checked(what: str, entry: Entry[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The complete options of an entry.

    Args:
        what: What the options belong to, for the message.
        entry: Of a registry.
        options: Those that were given.

    Raises:
        InvalidOption: One is unknown, of the wrong type or out of range.
    """
    try:
        return entry.validate(options)
    except ValidationError as error:
        known = ", ".join(entry.options.model_fields) or "none"
        raise InvalidOption(f"{sentence(what, error)} (its options: {known})") from error


def sentence(what: str, error: ValidationError) -> str:
    """Every fault with its place, its value and what is allowed."""
    faults = [
        f"{'.'.join(str(part) for part in fault['loc'])} is {fault['input']!r}: {fault['msg']}"
        for fault in error.errors()
    ]
    return f"{what}: {'; '.join(faults)}"
