"""A sweep as a person writes it: a default trial, a space around it, replicates, and where results go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from rmt.registry import Registry
from sweeps import document as documents
from sweeps import spec_check
from sweeps.assembly import build_trial, outer_first
from sweeps.choice import Choice, Closed
from sweeps.errors import Problem, SelectionOnTest, SpecError
from sweeps.explain import explain
from sweeps.space import Dimension
from sweeps.spec_means import Budget, Checkpoints, Limits, Resources, Tracking
from sweeps.spec_replicates import Replicates
from sweeps.trial_spec import TrialSpec

NAME_PATTERN = r"^[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*$"


class Design(Choice):
    """How points are chosen from the space."""

    source: ClassVar[str] = "sweeps.design:DESIGNS"
    kind: str = "grid"
    # Dimensions with listed values that are crossed with the draws of the others; `grids`: all of them.
    cross: list[str] | Literal["grids"] = []

    @classmethod
    def registry(cls) -> Registry[Any]:
        """Explicit designs, whose points are known beforehand, and search algorithms, whose points are not."""
        from sweeps.search import SEARCHERS

        return super().registry().joined(SEARCHERS)

    @property
    def is_adaptive(self) -> bool:
        """Whether points are chosen as the sweep goes."""
        from sweeps.search import SEARCHERS

        return self.kind in SEARCHERS


class Objective(Closed):
    """What `best` ranks trials by."""

    metric: str = "validation_accuracy"
    statistic: Literal["mean", "median", "sd", "ci_low", "ci_high", "iqm"] = "mean"
    mode: Literal["max", "min"] = "max"

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        from sweeps.metrics import refuse_test, require_known

        try:
            refuse_test(metric)
            require_known(metric)
        except (SelectionOnTest, SpecError) as error:
            raise ValueError(str(error)) from None
        return metric


class Stopper(Choice):
    """When a trial is stopped early, judged by the objective unless another metric is named."""

    source: ClassVar[str] = "sweeps.stoppers:STOPPERS"

    metric: str | None = None
    statistic: Literal["mean", "median", "sd", "ci_low", "ci_high"] | None = None
    mode: Literal["max", "min"] | None = None


class SweepSpec(Closed):
    """A whole sweep, checked."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    plugins: list[str] = []
    trial: TrialSpec = Field(default_factory=TrialSpec)
    space: dict[str, Dimension] = {}
    exclude: list[str] = []
    design: Design = Field(default_factory=lambda: Design.model_validate({}))
    replicates: Replicates = Replicates()
    baseline: bool = True
    objective: Objective = Objective()
    objectives: list[Objective] = []
    stopper: Stopper | None = None
    resources: Resources = Resources()
    checkpoints: Checkpoints = Checkpoints()
    budget: Budget = Budget()
    limits: Limits = Limits()
    storage: str = "./sweeps-data"
    tracking: Tracking = Tracking()

    _given: documents.Document | None = PrivateAttr(default=None)

    @field_validator("name")
    @classmethod
    def _is_safe(cls, name: str) -> str:
        import re

        if not re.fullmatch(NAME_PATTERN, name):
            raise ValueError(
                f"{name!r} is not a sweep name; allowed: letters, digits, '_', '-' and single dots, "
                "beginning with a letter or digit (it becomes a folder)"
            )
        return name

    @model_validator(mode="before")
    @classmethod
    def _first_objective(cls, plain: Any) -> Any:
        """Trials are ranked by one objective; of several it is the first."""
        several = plain.get("objectives") if isinstance(plain, Mapping) else None
        if not several or not isinstance(several, list):
            return plain
        if plain.get("objective", several[0]) != several[0]:
            raise ValueError("objective and objectives are both given; of several, trials are ranked by the first")
        return {**plain, "objective": several[0]}

    @property
    def goals(self) -> list[Objective]:
        """What an adaptive design follows: the objectives, of which there is one unless several are given."""
        return self.objectives or [self.objective]

    def __eq__(self, other: object) -> bool:
        """Two specs are equal when every field is, however much of it was written out."""
        return isinstance(other, SweepSpec) and self.document(resolved=True) == other.document(resolved=True)

    __hash__ = None  # type: ignore[assignment]

    def document(self, *, resolved: bool = False) -> documents.Document:
        """The document as given; `resolved` has every field with its value."""
        if self._given is not None and not resolved:
            return self._given
        plain = self.model_dump(mode="json")
        plain["space"] = {path: dim.model_dump(mode="json", exclude_none=True) for path, dim in self.space.items()}
        return plain

    def to_yaml(self, *, resolved: bool = False) -> str:
        """YAML that `load_spec` reads back to an equal spec."""
        return documents.render(self.document(resolved=resolved))

    @property
    def stopping_goal(self) -> Objective:
        """What the stopper judges by: the objective, with what the stopper says instead."""
        given = self.stopper.model_dump(include={"metric", "statistic", "mode"}) if self.stopper else {}
        return self.objective.model_copy(update={name: value for name, value in given.items() if value})

    def prunes_at(self, path: str) -> bool:
        """Whether a dimension has an end at which an otherwise default trial is pruned."""
        for value in self.space[path].ends:
            try:
                if self.trial_at({path: value}).is_pruned:
                    return True
            except SpecError:
                continue  # it is valid together with another dimension's value
        return False

    @property
    def crossed(self) -> list[str]:
        """Dimensions that are crossed with the draws of the design, in the order of the space."""
        listed = [path for path, dimension in self.space.items() if dimension.grid is not None]
        return listed if self.design.cross == "grids" else [path for path in listed if path in self.design.cross]

    def trial_at(self, point: Mapping[str, Any]) -> TrialSpec:
        """The trial at a point of the space.

        Raises:
            SpecError: The point leads to a trial that is not valid; names each dotted path.
        """
        plain = self.trial_document()
        for path in outer_first(point):
            plain = documents.assign(plain, path, point[path])
        return build_trial(plain)

    def trial_document(self) -> documents.Document:
        """The default trial as given: what it leaves out depends on the kinds that a point chooses."""
        given: documents.Document = self.document().get("trial", {}) if self._given else self.trial.document()
        return given


def build_spec(plain: Any, *, source: str = "the spec") -> SweepSpec:
    """Check a sweep's document as a whole: fields, names, both ends of every dimension.

    Raises:
        SpecError: Everything that is wrong, each with dotted path, value and what is allowed.
    """
    if not isinstance(plain, Mapping):
        raise SpecError(f"{source} holds {type(plain).__name__}, not a mapping with name, trial, space, ...")
    _load_plugins(plain.get("plugins"))
    try:
        spec = SweepSpec.model_validate(plain)
    except ValidationError as error:
        raise SpecError(explain(error, SweepSpec, plain)) from None
    spec._given = dict(plain)
    if problems := list(dict.fromkeys(spec_check.problems_of(spec))):
        raise SpecError(problems)
    return spec


def _load_plugins(modules: Any) -> None:
    """Names that plugins register have to be known before names are checked."""
    from sweeps import plugins

    if isinstance(modules, list) and all(isinstance(module, str) for module in modules):
        plugins.load(modules)


def load_spec(source: str | os.PathLike[str] | Mapping[str, Any], *, overrides: Iterable[str] = ()) -> SweepSpec:
    """Read and check a spec from a YAML file or a mapping; `path=value` overrides apply before the check.

    Raises:
        SpecError: The file can not be read, is not YAML, or is not a valid sweep.
    """
    if isinstance(source, Mapping):
        plain, name = dict(source), "the spec"
    else:
        name = str(source)
        plain = documents.parse(_read(Path(source)), source=name)
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals or not path:
            raise SpecError([Problem(override, "an override is written path=value")])
        plain = documents.assign(plain, _full_path(path), documents.parse(value, source=f"--set {path}"))
    return build_spec(plain, source=name)


def _full_path(path: str) -> str:
    """Paths into the trial may be given as in `space`, without the leading `trial.`."""
    return f"trial.{path}" if path.partition(".")[0] in TrialSpec.model_fields else path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} can not be read: {error}") from None
