"""Named functions with validated options: how rules, estimators, architectures and the rest are added.

A registered function takes what the program passes as positional parameters and what a person chooses as
keyword-only parameters. The keyword-only part, with its annotations and defaults, *is* the declaration of its
options: it is validated by it, documented from it and listed from it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, create_model

from rmt.errors import DuplicateName, UnknownName

F = TypeVar("F", bound=Callable[..., Any])


class Options(BaseModel):
    """Base of the generated option models: closed, frozen, strict about unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


@dataclass(frozen=True)
class Entry(Generic[F]):
    """One registered function.

    Attributes:
        name: What a spec calls it.
        function: The function itself.
        version: Bumped by hand whenever the function's results change; part of a replicate's identity.
        traits: What the registration declared about it (`idempotent=True`, say); contract tests read it.
    """

    name: str
    function: F
    version: int = 1
    traits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @cached_property
    def options(self) -> type[Options]:
        """Model of the keyword-only parameters: types, ranges and defaults as the function declares them."""
        signature = inspect.signature(self.function, eval_str=True)
        fields: dict[str, Any] = {
            name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
            for name, parameter in signature.parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        return create_model(f"{self.name}_options", __base__=Options, **fields)

    def validate(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Complete and check `options`; raises `pydantic.ValidationError` naming each wrong field."""
        return self.options.model_validate(dict(options)).model_dump()


class Registry(Generic[F]):
    """Functions of one kind by name.

    >>> RULES = Registry("pruning rule")
    >>> @RULES.register(version=1, idempotent=True)
    ... def keep_all(spectrum, *, floor: int = 0): ...
    >>> RULES["keep_all"].traits["idempotent"]
    True
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[F]] = {}

    def register(self, name: str | None = None, *, version: int = 1, **traits: Any) -> Callable[[F], F]:
        """Decorator: add a function under its own name or the one given.

        Raises:
            DuplicateName: The name is taken by another function.
        """

        def add(function: F) -> F:
            key = name or function.__name__
            known = self._entries.get(key)
            if known is not None and known.function.__qualname__ != function.__qualname__:
                raise DuplicateName(f"{self.kind} {key!r} is already registered")
            self._entries[key] = Entry(key, function, version, MappingProxyType(traits))
            return function

        return add

    def joined(self, other: Registry[F]) -> Registry[F]:
        """A registry of what is in either, as it is now.

        Raises:
            DuplicateName: A name is in both.
        """
        if both := sorted(set(self._entries) & set(other._entries)):
            raise DuplicateName(f"{self.kind} {both[0]!r} is already registered")
        made: Registry[F] = Registry(self.kind)
        made._entries = self._entries | other._entries
        return made

    def __getitem__(self, name: str) -> Entry[F]:
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(sorted(self._entries))
            raise UnknownName(f"unknown {self.kind} {name!r}; known: {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)
