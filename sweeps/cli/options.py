"""Options that several commands have in common, written once as the fields of a dataclass."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints


def taking(options: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every field of a dataclass, after its own ones.

    Args:
        options: The dataclass; every field has a default. The command's parameter of this type receives them all.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = {name: one for name, one in signature.parameters.items() if one.annotation is not options}
        [together] = signature.parameters.keys() - own.keys()
        hints = get_type_hints(options, include_extras=True)
        shared = {one.name: one.default for one in fields(options)}
        added = [
            inspect.Parameter(
                name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=hints[name]
            )
            for name, default in shared.items()
        ]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            command(**{together: options(**{name: given.pop(name) for name in shared})}, **given)

        run.__signature__ = signature.replace(parameters=[*own.values(), *added])  # type: ignore[attr-defined]
        run.__annotations__ = {name: one.annotation for name, one in own.items()} | hints
        return run

    return decorate
