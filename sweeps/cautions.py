"""What is valid and yet likely to disappoint: told before a launch, as sentences."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sweeps.errors import SpecError
from sweeps.planned import PlannedTrial
from sweeps.planning import Plan, one_of_each
from sweeps.points import cells
from sweeps.spec_means import Resources
from sweeps.texts import Texts
from sweeps.trial_spec import TrialSpec
from sweeps.wording import counted

if TYPE_CHECKING:
    from sweeps.data import Dataset
    from sweeps.spec import SweepSpec

SURELY_LARGE = 64
"""Singular values from which on no rule or noise estimator finds a layer too small."""


def cautions(made: Plan) -> list[str]:
    """Sentences: configurations that can not be pruned or not be held in memory here, settings without effect."""
    from sweeps.data import load

    found: dict[str, None] = {}
    seen: set[str] = set()
    texts = Texts()
    pruned = (planned for planned in made.expected if planned.role == "pruned")
    for trial in (planned.spec for planned in one_of_each(pruned, "data", "model", "prune")):
        key = texts(trial.data, trial.model, trial.prune)
        if key not in seen:
            seen.add(key)
            found |= dict.fromkeys(_too_small(trial, load(trial.data)))
    return [*found, *_too_large(made), *_without_effect(made), *_drawn_twice(made.spec)]


def _without_effect(made: Plan) -> Iterator[str]:
    """Settings that can never come to bear in this sweep, or on this machine."""
    spec, cores = made.spec, os.cpu_count() or 1
    if spec.resources.cpus > cores:
        yield f"not for this machine: resources.cpus: a trial wants {spec.resources.cpus:g}, and it has {cores}"
    hours, minutes = spec.budget.max_hours, spec.limits.trial_minutes
    if hours is not None and minutes is not None and minutes > 60 * hours:
        yield (
            f"limits.trial_minutes: {minutes:g} ends no trial: a launch ends after {60 * hours:g} minutes "
            f"(budget.max_hours: {hours:g})"
        )
    best = spec.stopper.options.get("best") if spec.stopper else None
    if best is not None:
        from sweeps.stopping import prunes, takes_part

        any_pruned = prunes(spec)
        judged = sum(takes_part(trial, any_pruned) for trial in made.expected)
        if best >= judged:
            yield (
                f"stopper.best: the best {best} are never stopped, and the sweep has {counted(judged, 'trial')} "
                "that may be: nothing is ever stopped"
            )


def _drawn_twice(spec: SweepSpec) -> Iterator[str]:
    """That a space of few values has given fewer different points than a design asked for."""
    asked = spec.design.options.get("points")
    if asked is None or any(dimension.is_continuous for dimension in spec.space.values()):
        return
    found = min(len(spec.design.entry.function(cell, **spec.design.options)) for cell in cells(spec))
    if found < asked:
        yield f"design.points: of {asked} draws {found} differ; the others are points that are there already"


def _too_large(made: Plan) -> Iterator[str]:
    """Trials that do not fit into this machine's memory; the one they are sent to may have more."""
    asked = made.spec.resources.stack
    for planned in one_of_each_size(made.expected):
        count = len(planned.replicates)
        try:
            fitting = most_here(planned, made.spec.resources)
        except SpecError as error:
            yield f"not for this machine: {error}"
            continue
        if asked != "auto" and min(asked, count) > fitting:
            yield (
                f"resources.stack: {min(asked, count)} replicates at once may be more than this "
                f"machine's memory holds; auto would take {fitting}"
            )


def one_of_each_size(trials: Iterable[PlannedTrial]) -> Iterator[PlannedTrial]:
    """One trial of all that take the same memory: estimating it builds a network."""
    seen: set[tuple[str | int, ...]] = set()
    texts = Texts()
    for planned in one_of_each(trials, "data", "model", "training"):
        trial, training = planned.spec, planned.spec.training
        kinds = texts(trial.data, trial.model), training.optimiser.kind
        key = (*kinds, training.batch_size, len(planned.replicates))
        if key not in seen:
            seen.add(key)
            yield planned


def most_here(planned: PlannedTrial, resources: Resources) -> int:
    """How many replicates of a trial fit at once into this machine's memory.

    Raises:
        SpecError: Not even one, or surely not as many as `resources.stack` asks for; names what is needed and
            what there is.
    """
    from sweeps.data import load
    from sweeps.stacking import Stacking

    data = load(planned.spec.data)
    stacking = Stacking(planned.spec, data.shape, data.classes)
    count = len(planned.replicates)
    fitting = stacking.most(count, "auto", threads=resources.threads, device="cpu")
    if resources.stack != "auto":
        stacking.require(count, resources.stack, fitting=fitting, device="cpu")
    return fitting


def _too_small(trial: TrialSpec, data: Dataset) -> Iterator[str]:
    """Whether a cut of the network, filled with noise, skips every layer."""
    import torch

    import rmt
    from rmt.module_layers import layers_of
    from sweeps import models
    from sweeps.training_pruning import pruner_of

    with torch.device("meta"):
        module = models.build(trial.model, data.shape, data.classes)
    layers = layers_of(module)
    if any(min(layer.rows, layer.cols) >= SURELY_LARGE for layer in layers):
        return
    pruner = pruner_of(trial, layers, sum(value.numel() for value in module.parameters()))
    if pruner is None or not pruner.epochs_due:
        return
    generator = torch.Generator().manual_seed(0)
    noise = {layer.name: [torch.randn(layer.rows, layer.cols, generator=generator)] for layer in layers}
    cuts = pruner.cut(noise, min(pruner.epochs_due), [rmt.Memory()], [generator])
    if all(one.status == "skipped" for [one] in cuts.values()):
        reasons = ", ".join(f"{name} ({one.reason})" for name, [one] in cuts.items())
        about = f"model {trial.model.kind} is too small for rule {trial.prune.rule}"
        yield f"{about}: every layer is skipped: {reasons}"
