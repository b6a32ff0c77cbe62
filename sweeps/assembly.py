"""From points to trials: sections of a trial that many points share are checked once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from sweeps import document as documents
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


class Assembly:
    """Builds trials from a default trial's document and points.

    A grid of 100,000 points has some hundreds of different `training` sections: each is checked once and shared.
    """

    def __init__(self, document: documents.Document) -> None:
        self._document = document
        self.default = TrialSpec.model_validate(document)
        self._sections: dict[tuple[str, ...], BaseModel] = {}
        # By the identities of paths' values; they are kept, so that no number is given twice.
        self._same: dict[tuple[object, ...], tuple[list[Any], BaseModel]] = {}
        self._paths: dict[tuple[str, ...], dict[str, list[str]]] = {}

    def trial(self, point: Point) -> TrialSpec:
        """The trial at a point.

        Raises:
            SpecError: It is not valid; names each dotted path.
        """
        try:
            return self.default.with_sections(
                {name: self._at(name, paths, point) for name, paths in self._by_section(tuple(point)).items()}
            )
        except (ValidationError, OptionErrors):
            return self._in_full(point)

    def _by_section(self, paths: tuple[str, ...]) -> dict[str, list[str]]:
        """Paths of points by the section they lead into; most points have the same paths."""
        if paths not in self._paths:
            found: dict[str, list[str]] = {}
            for path in paths:
                found.setdefault(path.partition(".")[0], []).append(path)
            self._paths[paths] = found
        return self._paths[paths]

    def _in_full(self, point: Point) -> TrialSpec:
        """Checked as a whole, for an error that knows the whole document."""
        plain = self._document
        for path, value in point.items():
            plain = documents.assign(plain, path, value)
        return build_trial(plain)

    def check(self, point: Point) -> None:
        """Check each section of the trial at a point by itself.

        Raises:
            SpecError: One is not valid; names each dotted path.
        """
        try:
            for name, paths in self._by_section(tuple(point)).items():
                self._at(name, paths, point)
        except ValidationError:
            self._in_full(point)

    def section(self, name: str, point: Point) -> BaseModel:
        """One section of the trial at a point.

        Raises:
            pydantic.ValidationError: It is not valid by itself.
            SpecError: A path leads through something that is not a mapping.
        """
        paths = self._by_section(tuple(point)).get(name)
        return self._at(name, paths, point) if paths else getattr(self.default, name)

    def _at(self, name: str, paths: list[str], point: Point) -> BaseModel:
        values = [point[path] for path in paths]
        # The points of a grid share their values: what the same ones made is found without writing them out.
        same = (name, *paths, *map(id, values))
        if (known := self._same.get(same)) is not None:
            return known[1]
        key = (*paths, repr(values))
        if key not in self._sections:
            plain = {name: self._document.get(name, {})}
            for path, value in zip(paths, values, strict=True):
                plain = documents.assign(plain, path, value)
            model = TrialSpec.model_fields[name].annotation
            assert model is not None  # noqa: S101 - every field of a trial is annotated
            self._sections[key] = model.model_validate(plain[name])
        self._same[same] = (values, self._sections[key])
        return self._sections[key]

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
