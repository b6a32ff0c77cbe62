"""A field that names a registered function and gives its options: `{kind: mlp, widths: [256, 256]}`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema

from rmt.errors import UnknownName
from rmt.registry import Entry, Registry


class OptionErrors(ValueError):
    """Errors of a choice's options, carried through pydantic to where the field's own path is known."""

    def __init__(self, errors: list[Any]) -> None:
        super().__init__("invalid options")
        self.errors = errors


class Closed(BaseModel):
    """Base of all parts of a spec: unknown fields are errors, values do not change after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


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
        module, _, attribute = cls.source.partition(":")
        registry = getattr(importlib.import_module(module), attribute)
        assert isinstance(registry, Registry)  # noqa: S101 - a programming error, not an input
        return registry

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
        return dict(self.model_extra or {})

    @model_validator(mode="wrap")
    @classmethod
    def _complete(cls, value: Any, handler: Any) -> Any:
        choice = handler({"kind": value} if isinstance(value, str) else value)
        try:
            options = choice.entry.options.model_validate(choice.model_extra)
        except UnknownName as error:
            raise OptionErrors([{"loc": ("kind",), "msg": str(error), "type": "unknown_name"}]) from None
        except ValidationError as error:
            raise OptionErrors(list(error.errors())) from None
        choice.__pydantic_extra__.clear()
        choice.__pydantic_extra__.update(options.model_dump())
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
