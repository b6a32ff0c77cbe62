"""`python -m cluster serve SERVICE ...`: the command line back into the service that this process becomes."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cluster.commands import SERVICES, Service
from cluster.credentials import read_secret
from cluster.errors import BadOption


def parse(kind: str, arguments: Sequence[str]) -> Service:
    """The service that a `serve` command line means.

    Raises:
        BadOption: The service or an option is not known, or a value is out of range.
    """
    if kind not in SERVICES:
        raise BadOption(f"unknown service {kind!r}; known: {', '.join(SERVICES)}")
    parser = _parser(kind)
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        return SERVICES[kind].model_validate(given)
    except ValidationError as error:
        raise BadOption("; ".join(_sentence(kind, problem) for problem in error.errors())) from error


def become(service: Service) -> NoReturn:
    """Replace this process by the service's program, with its secrets read from their files."""
    # Jobs start `python` and `sweeps` by name: they mean this environment's.
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": programs, **service.environment()}
    for name, path in service.secrets().items():
        environment[name] = read_secret(path)
    service.prepare()
    program = service.program()
    if service.folder is not None:
        service.folder.mkdir(parents=True, exist_ok=True)
    os.execve(program[0], program, environment)  # noqa: S606


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        known = ", ".join(sorted(name for action in self._actions for name in action.option_strings))
        raise BadOption(f"{self.prog}: {message}; known options: {known}")


def _parser(kind: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"python -m cluster serve {kind}", description=SERVICES[kind].__doc__, allow_abbrev=False
    )
    for name, field in SERVICES[kind].model_fields.items():
        default = "required" if field.is_required() else f"default: {field.default}"
        parser.add_argument("--" + name.replace("_", "-"), dest=name, help=f"{field.description} ({default})")
    return parser


def _sentence(kind: str, problem: ErrorDetails) -> str:
    option = "--" + str(problem["loc"][0]).replace("_", "-")
    # A value that a rule of ours refused may hold a secret: it is not repeated.
    value = "" if problem["type"] in ("missing", "value_error") else f" = {problem['input']!r}"
    return f"serve {kind}: {option}{value}: {problem['msg']}"
