"""One complete configuration: what a trial trains, prunes and measures."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Gt, Interval, Le, MinLen
from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator

from rmt.errors import UnknownName
from sweeps.choice import Choice, Closed, OptionErrors, require_as_given

Share = Annotated[float, Interval(ge=0.0, le=1.0)]


class Data(Choice):
    """A data set, and how many of its training examples are held out for validation."""

    source: ClassVar[str] = "sweeps.data:DATASETS"
    kind: str = "digits"
    validation: Annotated[int, Ge(1)] = 360
    train_size: Annotated[int, Ge(1)] | None = None


class Model(Choice):
    """An architecture."""

    source: ClassVar[str] = "sweeps.models:ARCHITECTURES"
    kind: str = "mlp"


class Initialisation(Choice):
    """How weights are drawn before training, from the replicate's own generator."""

    source: ClassVar[str] = "sweeps.initialisations:INITIALISATIONS"
    kind: str = "normal_fan_in"


class Optimiser(Choice):
    """The optimiser of the training."""

    source: ClassVar[str] = "sweeps.optimisers:OPTIMISERS"
    kind: str = "sgd"


class Schedule(Choice):
    """How the learning rate changes from epoch to epoch."""

    source: ClassVar[str] = "sweeps.optimisers:SCHEDULES"
    kind: str = "constant"


class Augmentation(Choice):
    """A random change of the training images, the same for all replicates of a stack."""

    source: ClassVar[str] = "sweeps.data:AUGMENTATIONS"
    kind: str = "flip"


class Noise(Choice):
    """A noise estimator, and the Tracy–Widom level of the threshold."""

    source: ClassVar[str] = "rmt:NOISE"
    kind: str = "bema_two_pass"
    beta: Annotated[float, Gt(0.0), Field(lt=1.0)] = 0.1


class Gate(Closed):
    """When a layer is left alone because the law fits its spectrum badly."""

    max_distance: Annotated[float, Ge(0)] | Literal["off"] = "off"

    @field_validator("max_distance", mode="before")
    @classmethod
    def _off(cls, given: Any) -> Any:
        """YAML 1.1 reads `off` as false; a distance of 0 would be its opposite."""
        return "off" if given is False else given


class LayerOverride(Closed):
    """Other settings for the layers whose name or kind matches a pattern with `*` and `?`."""

    match: Annotated[str, MinLen(1)]
    rule: str | None = None
    aggressiveness: Share | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.rule is not None:
            _check_rule(self.rule, self.options)
        return self

    def applies_to(self, name: str, kind: str) -> bool:
        """Whether the pattern matches the layer's name or kind."""
        return name == self.match or fnmatchcase(name, self.match) or fnmatchcase(kind, self.match)


class Prune(Closed):
    """Which singular values or weights are removed, when and how many.

    Cuts come after epoch `start` (`every` when not given) and every `every` epochs from there, until the last.
    """

    rule: str = "mp_threshold"
    aggressiveness: Share = 0.5
    options: dict[str, Any] = {}
    budget: Annotated[float, Gt(0.0), Le(1.0)] | None = None
    every: Annotated[int, Ge(1)] = 4
    start: Annotated[int, Ge(1)] | None = None
    noise: Noise = Field(default_factory=lambda: Noise.model_validate({}))
    gate: Gate = Gate()
    layers: list[LayerOverride] = []

    @model_validator(mode="after")
    def _known(self) -> Self:
        _check_rule(self.rule, self.options)
        return self

    @functools.cached_property
    def removes(self) -> bool:
        """Whether any layer may lose anything."""
        rules = [self.rule, *(layer.rule for layer in self.layers if layer.rule)]
        return any(rule != "none" for rule in rules)

    @functools.cached_property
    def first_cut(self) -> int | None:
        """Epoch after which the first cut is due; None if nothing is cut."""
        return (self.every if self.start is None else self.start) if self.removes else None


def _check_rule(name: str, options: dict[str, Any]) -> None:
    from rmt import RULES

    try:
        made = RULES[name].options.model_validate(options)
        require_as_given(options, made.model_dump())
    except OptionErrors as error:
        raise OptionErrors([e | {"loc": ("options", *e["loc"])} for e in error.errors]) from None
    except UnknownName as error:
        raise OptionErrors([{"loc": ("rule",), "msg": str(error), "type": "unknown_name"}]) from None
    except ValidationError as error:
        raise OptionErrors([e | {"loc": ("options", *e["loc"])} for e in error.errors()]) from None


class Training(Closed):
    """Optimisation: how long, with what, under which penalties (l1 Σ|θ| + l2 Σθ², biases included).

    `deterministic` makes a training the same bits from run to run on the same machine, and refuses operations that
    can not be. `compile` has steps compiled by torch.compile, anew after each pruning. It is meant for GPUs, like
    `tf32`; nothing of this has been run on one yet.
    """

    epochs: Annotated[int, Ge(1)] = 20
    batch_size: Annotated[int, Ge(1)] = 128
    optimiser: Optimiser = Field(default_factory=lambda: Optimiser.model_validate({}))
    schedule: Schedule = Field(default_factory=lambda: Schedule.model_validate({}))
    l1: Annotated[float, Ge(0)] = 0.0
    l2: Annotated[float, Ge(0)] = 0.0
    augmentation: list[Augmentation] = []
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    clip_norm: Annotated[float, Gt(0)] | None = None
    label_smoothing: Annotated[float, Ge(0), Field(lt=1.0)] = 0.0
    deterministic: bool = False
    compile: bool = False

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        wrong = []
        rule, warmup = self.optimiser.options, self.schedule.options.get("warmup", 0.0)
        if rule.get("nesterov") and not rule.get("momentum"):
            message = "true needs a momentum; allowed: false, or optimiser.momentum above 0"
            wrong.append({"loc": ("optimiser", "nesterov"), "msg": message, "type": "no_momentum"})
        if warmup > self.epochs:
            message = f"{warmup:g} is longer than the training; allowed: 0 to {self.epochs} (training.epochs)"
            wrong.append({"loc": ("schedule", "warmup"), "msg": message, "type": "never_warm"})
        if wrong:
            raise OptionErrors(wrong)
        return self


def _known_measure(name: str) -> str:
    from sweeps.measuring import known

    if name not in known():
        raise ValueError(f"unknown measure {name!r}; known: {', '.join(known())}")
    return name


MeasureName = Annotated[str, AfterValidator(_known_measure)]
Epoch = Annotated[int, Field(strict=False)]  # JSON and the identity have it as text


class Measures(Closed):
    """What is computed of a replicate at the end and after listed epochs (0: as drawn), before a cut due then."""

    end: list[MeasureName] = ["spectra"]
    at_epochs: dict[Epoch, list[MeasureName]] = {}

    @property
    def names(self) -> set[str]:
        """All measures that are asked for at any time."""
        return {name for some in (self.end, *self.at_epochs.values()) for name in some}


def _up_to(most: int) -> str:
    return f"1 to {most}, or " if most else "more epochs, or "


@functools.cache
def _no_pruning() -> Prune:
    return Prune(rule="none")


class TrialSpec(Closed):
    """A complete configuration; every field has a value."""

    data: Data = Field(default_factory=lambda: Data.model_validate({}))
    model: Model = Field(default_factory=lambda: Model.model_validate({}))
    initialisation: Initialisation = Field(default_factory=lambda: Initialisation.model_validate({}))
    training: Training = Field(default_factory=Training)
    prune: Prune = Field(default_factory=Prune)
    measures: Measures = Measures()

    def with_sections(self, sections: Mapping[str, BaseModel]) -> TrialSpec:
        """The same trial with other sections, each checked by itself; how they fit together is checked here.

        Raises:
            OptionErrors: They do not fit together.
        """
        made = self.model_copy(update=sections)
        made._require_fit()
        return made

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._require_fit()
        return self

    def _require_fit(self) -> None:
        """Refuse sections that are right by themselves and wrong together: all that is so is asked here."""
        self._require_cuts_in_time()
        self._require_drawn_to_stay()
        if self.measures.at_epochs:
            self._require_measures_in_time()

    def _require_cuts_in_time(self) -> None:
        first = self.prune.first_cut
        if first is not None and first >= self.training.epochs:
            raise OptionErrors(
                [
                    {
                        "loc": ("prune", "every" if self.prune.start is None else "start"),
                        "msg": f"{first} is no pruning at all in a training of "
                        f"{self.training.epochs} epochs (it ends with training); "
                        f"allowed: {_up_to(self.training.epochs - 1)}prune.rule: none",
                        "type": "never_prunes",
                    }
                ]
            )

    def _require_drawn_to_stay(self) -> None:
        if self.initialisation.kind == "lsuv" and self.model.options.get("weights") is not None:
            message = (
                "lsuv scales each layer by what the layers before it, as drawn, let through, and model.weights "
                "puts others in their place; allowed: another initialisation"
            )
            raise OptionErrors([{"loc": ("initialisation", "kind"), "msg": message, "type": "not_as_drawn"}])

    def _require_measures_in_time(self) -> None:
        epochs = self.training.epochs
        wrong = [epoch for epoch in self.measures.at_epochs if not 0 <= epoch <= epochs]
        if wrong:
            message = f"is no epoch of this training; allowed: 0 to {epochs} (training.epochs)"
            raise OptionErrors(
                [{"loc": ("measures", "at_epochs", e), "msg": message, "type": "no_epoch"} for e in wrong]
            )

    @property
    def is_pruned(self) -> bool:
        """Whether any layer may lose anything: a trial that is not pruned is its own twin."""
        return self.prune.removes

    @property
    def first_cut(self) -> int | None:
        """Epoch after which the first cut is due: up to its end the trial is its twin. None if nothing is cut."""
        return self.prune.first_cut

    @property
    def twin(self) -> TrialSpec:
        """The same trial, unpruned."""
        return self.model_copy(update={"prune": _no_pruning()})

    def document(self) -> dict[str, Any]:
        """Nested plain values, complete."""
        return self.model_dump(mode="json")
