"""A sweep as a person writes it: a default trial, a space around it, replicates, and where results go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le
from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from rmt.registry import Registry
from sweeps import document as documents
from sweeps.assembly import Assembly, build_trial
from sweeps.choice import Choice, Closed
from sweeps.errors import Problem, SelectionOnTest, SpecError
from sweeps.explain import explain
from sweeps.space import Dimension, Space
from sweeps.trial_spec import TrialSpec

NAME_PATTERN = r"^[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*$"


def _check_seeds(given: Any) -> int | list[int]:
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) for seed in _as_list(given))
    if whole and isinstance(given, int) and given >= 1:
        return given
    if whole and isinstance(given, list) and given and min(given) >= 0 and len(set(given)) == len(given):
        return given
    raise ValueError("must be a number of seeds, 1 or more, or a list of different seeds, 0 or more")


def _as_list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


Seeds = Annotated[int | list[int], BeforeValidator(_check_seeds)]


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


class Until(Closed):
    """When a trial has seeds enough: its objective's interval is at most so wide, end to end, or it has `max`."""

    interval: Annotated[float, Gt(0)]
    max: Annotated[int, Ge(3)]


class Replicates(Closed):
    """How often a trial is repeated: a number of seeds, or the seeds themselves, per source of chance.

    With `until`, `initialisation` is how many a trial begins with; more are added where they are needed.
    """

    initialisation: Seeds = 5
    data_order: Seeds = 1
    split: Seeds = 1
    until: Until | None = None

    @field_validator("until")
    @classmethod
    def _can_grow(cls, until: Until | None, others: ValidationInfo) -> Until | None:
        first = others.data.get("initialisation")
        if until is None or first is None:
            return until
        if isinstance(first, list) or first < 2:
            raise ValueError(f"needs initialisation to be a number of seeds, 2 or more; got {first}")
        if until.max < first:
            raise ValueError(f"max is {until.max}, less than the {first} initialisation seeds to begin with")
        return until

    def seeds(self, source: str) -> list[int]:
        """Seeds of one source of chance."""
        given = getattr(self, source)
        return given if isinstance(given, list) else list(range(given))


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


class Resources(Closed):
    """What one trial may use; `stack` is the most replicates that are trained as one, by memory if `auto`."""

    cpus: Annotated[float, Gt(0)] = 1
    gpus: Annotated[float, Ge(0)] = 0
    stack: Annotated[int, Ge(1)] | Literal["auto"] = "auto"

    @property
    def threads(self) -> int:
        """CPU threads of one trial."""
        return max(1, int(self.cpus))

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return "cuda" if self.gpus else "cpu"


class Checkpoints(Closed):
    """How often a stack's training is saved, whichever comes first; null: not for that reason."""

    minutes: Annotated[float, Gt(0)] | None = 5
    epochs: Annotated[int, Ge(1)] | None = None


class Budget(Closed):
    """How much a sweep may be; null is no limit. Twins count as trials, hours are those of one launch."""

    max_trials: Annotated[int, Ge(1)] | None = None
    max_hours: Annotated[float, Gt(0)] | None = None
    max_gpu_hours: Annotated[float, Gt(0)] | None = None


class Limits(Closed):
    """What ends a trial that goes wrong.

    `retries`: how often a trial is begun again whose worker or node was lost; its own exceptions are not retried.
    `node_failures`: a node on which so many trials in a row lose their worker gets no more of them; null: it does.
    `trial_minutes`: what trains longer in one launch ends as `failed`, saved, so that another launch goes on.
    """

    retries: Annotated[int, Ge(0)] = 3
    node_failures: Annotated[int, Ge(1)] | None = 3
    trial_minutes: Annotated[float, Gt(0)] | None = None


class Tracking(Closed):
    """Where the projection goes (null: the SQLite store inside the storage), and what of files it takes along.

    `weights` of no replicate, of those of the `best` trials once the sweep has ended, or of all; pictures of the
    spectra and curves of the best `pictures` trials, drawn when the sweep has ended.
    """

    uri: str | None = None
    weights: Literal["none", "best", "all"] = "none"
    best: Annotated[int, Ge(1)] = 3
    pictures: Annotated[int, Ge(0), Le(100)] = 12


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
        for path, value in point.items():
            plain = documents.assign(plain, path, value)
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
    if problems := list(dict.fromkeys(_check(spec))):
        raise SpecError(problems)
    return spec


def _check_stopper(spec: SweepSpec) -> Iterable[Problem]:
    if spec.stopper is not None:
        from sweeps.stoppers.check import problems

        yield from problems(spec)


def _check_search(spec: SweepSpec) -> Iterable[Problem]:
    if spec.design.is_adaptive:
        from sweeps.search.check import problems

        yield from problems(spec)
    elif len(spec.objectives) > 1:
        message = (
            f"{len(spec.objectives)} are followed by a search algorithm only; got design.kind {spec.design.kind}"
        )
        yield Problem("objectives", message)


def _load_plugins(modules: Any) -> None:
    """Names that plugins register have to be known before names are checked."""
    from sweeps import plugins

    if isinstance(modules, list) and all(isinstance(module, str) for module in modules):
        plugins.load(modules)


def _check(spec: SweepSpec) -> Iterable[Problem]:
    from sweeps import points

    yield from _check_budget(spec)
    assembly = Assembly(spec.trial_document())
    conditions = list(points.check_conditions(spec, assembly))
    yield from conditions
    if conditions:
        return
    yield from points.check_design(spec)
    try:
        points.read_exclusions(spec, assembly)
    except SpecError as error:
        yield from error.problems
    yield from _check_space(spec, points.space_of(spec))
    yield from _check_stopper(spec)
    yield from _check_search(spec)


def _check_budget(spec: SweepSpec) -> Iterable[Problem]:
    if spec.budget.max_trials == 1 and spec.baseline and spec.trial.is_pruned:
        message = "1 has no room for a pruned trial and its twin; allowed: 2 or more, or baseline: false"
        yield Problem("budget.max_trials", message)
    if spec.budget.max_gpu_hours is not None and not spec.resources.gpus:
        message = "without a GPU it limits nothing; allowed: with resources.gpus above 0, or null"
        yield Problem("budget.max_gpu_hours", message)


def _check_space(spec: SweepSpec, space: Space) -> Iterable[Problem]:
    # What only the whole trial can tell is left to the plan where a point may be excluded for it.
    build = Assembly(spec.trial_document()).check if spec.exclude else spec.trial_at
    for path, dimension in spec.space.items():
        above = space.witness(path) or {}
        for value in dimension.ends:
            try:
                build({**above, path: value})
            except SpecError as error:
                # Another dimension may be what makes this value valid (epochs and a pruning interval): the
                # plan checks whole points, here only what is wrong about this path is reported.
                yield from (
                    Problem(f"space.{path}", p.message if p.path == path else str(p))
                    for p in error.problems
                    if _concerns(p.path, path)
                )


def _concerns(problem: str, path: str) -> bool:
    return problem == path or problem.startswith(f"{path}.") or path.startswith(f"{problem}.")


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
