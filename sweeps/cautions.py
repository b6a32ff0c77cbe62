"""What is valid and yet likely to disappoint: told before a launch, as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sweeps.planning import Plan
from sweeps.trial_spec import TrialSpec

if TYPE_CHECKING:
    from sweeps.data import Dataset

SURELY_LARGE = 64
"""Singular values from which on no rule or noise estimator finds a layer too small."""


def cautions(made: Plan) -> list[str]:
    """A sentence for each configuration of the plan that can not be pruned at all."""
    from sweeps.data import load

    found: dict[str, None] = {}
    seen: set[str] = set()
    for trial in (planned.spec for planned in made if planned.role == "pruned"):
        key = f"{trial.data.model_dump_json()} {trial.model.model_dump_json()} {trial.prune.model_dump_json()}"
        if key not in seen:
            seen.add(key)
            found |= dict.fromkeys(_too_small(trial, load(trial.data)))
    return list(found)


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
