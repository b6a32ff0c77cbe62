"""A field that names a registered function and gives its options: `{kind: mlp, widths: [256, 256]}`."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema

from rmt.errors import UnknownName
from rmt.registry import Entry, Registry


class OptionErrors(ValueError):
    """Errors of a choice's options, carried through pydantic to where the field's own path is known."""

    def __init__(self, errors: list[Any]) -> None:
        super().__init__("invalid options")
        self.errors = errors


def require_as_given(given: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    """Refuse text and truth values that became numbers, and whatever became a truth value.

    Raises:
        OptionErrors: Names each field with its value and what is wanted.
    """
    found = [error for name in made if name in given for error in _coerced(given[name], made[name], (name,))]
    if found:
        raise OptionErrors(found)


def _coerced(given: Any, made: Any, loc: tuple[int | str, ...]) -> Iterator[dict[str, Any]]:
    if isinstance(made, bool):
        if not isinstance(given, bool):
            yield {"loc": loc, "type": "coerced", "msg": "must be true or false", "input": given}
    elif isinstance(made, int | float):
        if isinstance(given, bool | str):
            yield {"loc": loc, "type": "coerced", "msg": "must be a number, as it stands", "input": given}
    elif isinstance(made, list | tuple) and isinstance(given, list | tuple):
        for place, (one, other) in enumerate(zip(given, made, strict=True)):
            yield from _coerced(one, other, (*loc, place))


class Closed(BaseModel):
    """Base of all parts of a spec: unknown fields are errors, values do not change after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="wrap")
    @classmethod
    def _as_given(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(value)
        if isinstance(value, Mapping):
            require_as_given(value, {name: getattr(made, name) for name in cls.model_fields})
        return made


@functools.cache
def _registry(source: str) -> Registry[Any]:
    module, _, attribute = source.partition(":")
    registry = getattr(importlib.import_module(module), attribute)
    assert isinstance(registry, Registry)  # noqa: S101 - a programming error, not an input
    return registry


class Choice(BaseModel):
    """A registered function by name with its complete, validated options as further fields.

    Subclasses name their registry as `package.module:NAME`; it is imported when the first choice is checked,
    so that reading a spec's shape costs no torch.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False, protected_namespaces=())
    source: ClassVar[str] = ""

    kind: str

    @classmethod
    def registry(cls) -> Registry[Any]:
        """The registry this choice is made from."""
        return _registry(cls.source)

    @classmethod
    def own_fields(cls) -> list[str]:
        """Fields that every kind has, beside `kind`."""
        return [name for name in cls.model_fields if name != "kind"]

    @property
    def entry(self) -> Entry[Any]:
        """The registered function."""
        return self.registry()[self.kind]

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments for the registered function."""
        shared = {name: getattr(self, name) for name in self._shared()}
        return {**shared, **(self.model_extra or {})}

    def _shared(self) -> list[str]:
        """Fields that every kind has and the registered function takes too: a field, and no option beside it."""
        return [name for name in self.own_fields() if name in self.entry.options.model_fields]

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, value: Any, handler: Any) -> Any:
        if isinstance(value, cls):
            return value  # checked when it was made
        choice = handler({"kind": value} if isinstance(value, str) else value)
        try:
            options = choice.entry.options.model_validate(choice.options)
        except UnknownName as error:
            raise OptionErrors([{"loc": ("kind",), "msg": str(error), "type": "unknown_name"}]) from None
        except ValidationError as error:
            raise OptionErrors(list(error.errors())) from None
        own = {name: getattr(choice, name) for name in cls.own_fields()}
        if isinstance(value, Mapping):
            require_as_given(value, own | options.model_dump())
        choice.__pydantic_extra__.clear()
        choice.__pydantic_extra__.update(options.model_dump(exclude=set(choice._shared())))
        return choice

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        own = dict(handler.resolve_ref_schema(handler(schema)).get("properties", {}))
        return {"oneOf": list(cls._schemas(own)), "title": cls.__name__}

    @classmethod
    def _schemas(cls, own: dict[str, Any]) -> Iterator[dict[str, Any]]:
        registry = cls.registry()
        for name in registry:
            schema = registry[name].options.model_json_schema()
            schema["properties"] = own | {"kind": {"const": name}} | schema.get("properties", {})
            schema["required"] = ["kind", *schema.get("required", [])]
            schema["description"] = registry[name].summary
            yield schema
