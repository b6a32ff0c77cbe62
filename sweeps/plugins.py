"""Code from outside: modules that a spec names, imported before its names are checked, here and on every worker.

A plugin registers rules, architectures, designs, ... when it is imported. Its source is part of the identity of
the trials that use one of its functions: the file of a module, or all Python files of a package, since an edit may
change numbers and nobody bumps a version for it. Modules that a plugin imports from elsewhere are not looked at.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sweeps.errors import Problem, SpecError

# Modules that this process has loaded as plugins, with the digest of their source as it was then.
_LOADED: dict[str, str] = {}


def load(modules: Sequence[str]) -> None:
    """Import plugins; the folder that a program is started in counts, as it does for `python`.

    Raises:
        SpecError: A module can not be imported; names the field, the module and why.
    """
    here = str(Path.cwd())
    if modules and here not in sys.path:
        sys.path.append(here)
    problems = []
    for number, module in enumerate(modules):
        try:
            imported = importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - whatever a module does when it is imported
            why = f"{type(error).__name__}: {error}"
            problems.append(Problem(f"plugins.{number}", f"the module {module!r} can not be imported: {why}"))
        else:
            _LOADED.setdefault(module, _digest(imported))
    if problems:
        raise SpecError(problems)


def digest_of(function: Callable[..., Any]) -> str | None:
    """Digest of the source of the plugin that a function comes from; None for a function of no plugin."""
    name = getattr(function, "__module__", None) or ""
    home = next((module for module in _LOADED if name == module or name.startswith(f"{module}.")), None)
    return None if home is None else _LOADED[home]


def digests() -> dict[str, str]:
    """Digests of the sources of all plugins that this process has loaded, by module."""
    return dict(sorted(_LOADED.items()))


def _digest(module: ModuleType) -> str:
    """16 hexadecimal digits over the names and contents of a module's files."""
    digest = hashlib.sha256()
    for path, name in _files(module):
        digest.update(f"{name}\0".encode())
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _files(module: ModuleType) -> list[tuple[Path, str]]:
    """A module's files with their names in it; a folder that is no package has none of its own."""
    if getattr(module, "__file__", None) is None:
        return []
    file = Path(str(module.__file__))
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    return [(path, os.path.relpath(path, file.parent)) for path in files]
