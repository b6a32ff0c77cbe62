"""Validation errors in the words of the spec: dotted path, the value, what is allowed there."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rmt.errors import UnknownName
from sweeps.choice import Choice, OptionErrors
from sweeps.errors import Problem


def explain(error: ValidationError, model: type[BaseModel], document: Mapping[str, Any]) -> list[Problem]:
    """Every error of a pydantic validation as a `Problem`, errors of nested choices included."""
    return list(dict.fromkeys(_problem(e, model, document) for e in _expand(error.errors())))


def _expand(errors: list[ErrorDetails], prefix: tuple[int | str, ...] = ()) -> Iterator[dict[str, Any]]:
    for error in errors:
        loc = (*prefix, *error["loc"])
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, OptionErrors):
            yield from _expand(cause.errors, loc)
        else:
            yield {**error, "loc": loc}


def _problem(error: dict[str, Any], model: type[BaseModel], document: Mapping[str, Any]) -> Problem:
    loc = [part for part in error["loc"] if not _is_union_tag(part)]
    path = ".".join(map(str, loc))
    if error["type"] == "extra_forbidden":
        return Problem(path, _unknown_field(loc, model, document))
    if error["type"] == "missing":
        return Problem(path, "is required and not given")
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if message.startswith("Input ") else message
    message = message.replace("input should be", "must be")
    if "input" in error and message.startswith("must be"):
        message = f"{message}; got {error['input']!r}"
    return Problem(path, message)


def _is_union_tag(part: int | str) -> bool:
    """Pydantic puts the tried alternative of a union into the location; a person did not write it."""
    return isinstance(part, str) and (
        part in {"int", "float", "str", "bool", "list[int]", "function-wrap", "function-after"}
        or part.startswith(("constrained-", "literal[", "list[", "function-"))
    )


def _unknown_field(loc: list[int | str], model: type[BaseModel], document: Mapping[str, Any]) -> str:
    *parents, last = loc
    known = sorted(_known_fields(model, document, parents))
    close = difflib.get_close_matches(str(last), known, n=1)
    where = f"a field of {'.'.join(map(str, parents))}" if parents else "a field here"
    hint = f"did you mean {close[0]}? " if close else ""
    return f"is not {where}; {hint}known here: {', '.join(known) or 'none'}"


def _known_fields(model: type[BaseModel], document: Any, parents: list[int | str]) -> list[str]:
    for part in parents:
        if part == "options" and isinstance(document, Mapping):
            return _rule_options(document.get("rule", "mp_threshold"))
        document = _below(document, part)
        if isinstance(part, str) and part in model.model_fields:
            below = _model_in(model.model_fields[part].annotation)
            if below is None:
                return []
            model = below
    if issubclass(model, Choice):
        kind = document.get("kind", model.model_fields["kind"].default) if isinstance(document, Mapping) else ""
        try:
            options = list(model.registry()[kind].options.model_fields)
        except UnknownName:
            options = []
        return ["kind", *model.own_fields(), *options]
    return list(model.model_fields)


def _rule_options(rule: str) -> list[str]:
    from rmt import RULES

    return list(RULES[rule].options.model_fields) if rule in RULES else []


def _below(document: Any, part: int | str) -> Any:
    if isinstance(document, Mapping):
        return document.get(part)
    if isinstance(document, list) and isinstance(part, int) and part < len(document):
        return document[part]
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside `Model`, `list[Model]`, `dict[str, Model]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (list, dict, Union, types.UnionType):
        return next((m for m in map(_model_in, get_args(annotation)) if m is not None), None)
    return None
