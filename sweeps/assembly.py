"""From points to trials: sections of a trial that many points share are checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from sweeps import document as documents
from sweeps import plugins
from sweeps.choice import OptionErrors
from sweeps.errors import SpecError
from sweeps.explain import explain
from sweeps.space import Point
from sweeps.trial_spec import TrialSpec


def build_trial(plain: Mapping[str, Any]) -> TrialSpec:
    """Check a trial's document.

    Raises:
        SpecError: Names each wrong path with its value and what is allowed.
    """
    try:
        return TrialSpec.model_validate(plain)
    except ValidationError as error:
        raise SpecError(explain(error, TrialSpec, plain)) from None


def rebuild_trial(config: Mapping[str, Any], sweep: Callable[[], Mapping[str, Any]]) -> TrialSpec:
    """A trial from its record: what the sweep's plugins register is known then.

    Args:
        config: The trial's document.
        sweep: Gives the sweep's document; asked where the trial uses what nobody has registered here yet.

    Raises:
        SpecError: A plugin can not be imported here, or the trial is not valid: names each wrong path.
    """
    try:
        return build_trial(config)
    except SpecError:
        plugins.load(sweep().get("plugins") or ())
    return build_trial(config)


def outer_first(paths: Iterable[str]) -> list[str]:
    """Dotted paths, each after those around it, whose values it would be lost in otherwise."""
    return sorted(paths, key=lambda path: path.count("."))


class Assembly:
    """Builds trials from a default trial's document and points.

    A grid of 100,000 points has some hundreds of different `training` sections: each is checked once and shared.
    """

    def __init__(self, document: documents.Document) -> None:
        self._document = document
        self.default = TrialSpec.model_validate(document)
        self._sections: dict[tuple[str, ...], _Section] = {}
        self._of_paths: dict[tuple[str, ...], list[_Section]] = {}

    def trial(self, point: Point) -> TrialSpec:
        """The trial at a point.

        Raises:
            SpecError: It is not valid; names each dotted path.
        """
        try:
            return self.default.with_sections(
                {section.name: section.at(point) for section in self._sections_of(point)}
            )
        except (ValidationError, OptionErrors):
            return self._in_full(point)

    def _sections_of(self, point: Point) -> list[_Section]:
        """The sections that a point's paths lead into; most points have the same paths."""
        paths = tuple(point)
        if paths not in self._of_paths:
            found: dict[str, list[str]] = {}
            for path in outer_first(paths):
                found.setdefault(path.partition(".")[0], []).append(path)
            self._of_paths[paths] = [self._section(name, tuple(some)) for name, some in found.items()]
        return self._of_paths[paths]

    def _section(self, name: str, paths: tuple[str, ...]) -> _Section:
        if paths not in self._sections:
            self._sections[paths] = _Section(name, paths, self._document)
        return self._sections[paths]

    def _in_full(self, point: Point) -> TrialSpec:
        """Checked as a whole, for an error that knows the whole document."""
        plain = self._document
        for path in outer_first(point):
            plain = documents.assign(plain, path, point[path])
        return build_trial(plain)

    def check(self, point: Point) -> None:
        """Check each section of the trial at a point by itself.

        Raises:
            SpecError: One is not valid; names each dotted path.
        """
        try:
            for section in self._sections_of(point):
                section.at(point)
        except ValidationError:
            self._in_full(point)

    def section(self, name: str, point: Point) -> BaseModel:
        """One section of the trial at a point.

        Raises:
            pydantic.ValidationError: It is not valid by itself.
            SpecError: A path leads through something that is not a mapping.
        """
        found = next((section for section in self._sections_of(point) if section.name == name), None)
        return getattr(self.default, name) if found is None else found.at(point)

    def names(self, points: Iterator[Point]) -> set[str]:
        """Dotted names of everything a trial has, by default and at these points."""
        found = set(documents.flatten(self.default.document()))
        for point in points:
            for path in point:
                name = path.partition(".")[0]
                try:
                    section = self.section(name, point)
                except (ValidationError, SpecError):
                    continue  # it is reported as what it is: a value that its dimension can not have
                found |= set(documents.flatten(section.model_dump(mode="json"), f"{name}."))
        return found


class _Section:
    """One section of the trials whose points have the same paths into it: equal values make it once."""

    def __init__(self, name: str, paths: tuple[str, ...], document: documents.Document) -> None:
        self.name, self._paths, self._document = name, paths, document
        self._equal: dict[str, BaseModel] = {}
        # By the values' own identities; they are kept, so that no number is given twice.
        self._same: dict[tuple[int, ...], tuple[list[Any], BaseModel]] = {}

    def at(self, point: Point) -> BaseModel:
        """The section at a point. The points of a grid share their values, which need not be written out again."""
        values = [point[path] for path in self._paths]
        same = tuple(map(id, values))
        known = self._same.get(same)
        if known is None:
            equal = repr(values)
            if equal not in self._equal:
                self._equal[equal] = self._with(values)
            known = self._same[same] = values, self._equal[equal]
        return known[1]

    def _with(self, values: list[Any]) -> BaseModel:
        plain = {self.name: self._document.get(self.name, {})}
        for path, value in zip(self._paths, values, strict=True):
            plain = documents.assign(plain, path, value)
        model = TrialSpec.model_fields[self.name].annotation
        assert model is not None  # noqa: S101 - every field of a trial is annotated
        return model.model_validate(plain[self.name])


class TrialValues(Mapping[str, Any]):
    """What the trial at a point has under dotted names, looked up when asked for."""

    def __init__(self, assembly: Assembly, point: Point) -> None:
        self._assembly, self._point = assembly, point

    def __getitem__(self, path: str) -> Any:
        name, _, rest = path.partition(".")
        try:
            value: Any = self._assembly.section(name, self._point)
        except (ValidationError, SpecError):
            return self._point[path]  # the section is wrong by itself, which is told when the trial is built
        for part in rest.split(".") if rest else []:
            value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._point)

    def __len__(self) -> int:
        return len(self._point)
