"""What is valid and yet likely to disappoint: told before a launch, as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sweeps.errors import SpecError
from sweeps.planning import Plan, PlannedTrial, one_of_each
from sweeps.spec_means import Resources
from sweeps.texts import Texts
from sweeps.trial_spec import TrialSpec

if TYPE_CHECKING:
    from sweeps.data import Dataset

SURELY_LARGE = 64
"""Singular values from which on no rule or noise estimator finds a layer too small."""


def cautions(made: Plan) -> list[str]:
    """A sentence for each configuration of the plan that can not be pruned, or not be held in memory here."""
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
    return [*found, *_too_large(made)]


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
