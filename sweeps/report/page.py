"""The page: sections in their order, style and template put together."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sweeps.report.blocks import Section
from sweeps.report.palette import classes, variables


def render(sweep: str, summary: str, partial: str, sections: Sequence[Section]) -> str:
    """The page as one HTML document; every text in it is escaped, whatever it holds.

    Args:
        sweep: Name of the sweep.
        summary: What was run, in a sentence.
        partial: What is still missing; empty when everything planned is recorded.
        sections: In the order of reading.
    """
    return fill(
        _file("page.html"), sweep=sweep, summary=summary, partial=partial, sections=sections, style=style()
    )


def fill(template: str, **values: Any) -> str:
    """A page from its template, which may extend `frame.html`: what all pages have in common.

    Args:
        template: Its text.
        values: What it names; texts are escaped. `style` is the style sheet.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_file),
    )
    return environment.from_string(template).render(**values)


def style() -> Markup:
    """The page's style sheet; dark only on screens, so that paper is always light."""
    dark = f"@media screen and (prefers-color-scheme:dark){{:root{{{variables('dark')}}}}}"
    return Markup(f":root{{{variables('light')}}}{dark}{classes()}{_file('page.css')}")  # noqa: S704 - our own files


def _file(name: str) -> str:
    return resources.files("sweeps.report").joinpath(name).read_text(encoding="utf-8")
