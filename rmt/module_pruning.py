"""Pruning of an ordinary module: from its submodules to a pruner and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from rmt.candidates import candidates_of
from rmt.cut import Cut
from rmt.errors import InvalidOption
from rmt.matrices import parameters
from rmt.memory import Memory
from rmt.module_layers import Place, layers_of, places_of
from rmt.optimiser_state import Carry, carry_state
from rmt.report import PruneReport

if TYPE_CHECKING:
    from rmt.pruner import Pruner

Validate = Callable[[nn.Module], float]


def prune(
    module: nn.Module,
    rule: str = "mp_threshold",
    aggressiveness: float = 1.0,
    *,
    generator: torch.Generator | None = None,
    heads: Sequence[str] | None = None,
    **options: Any,
) -> PruneReport:
    """Prune a module once, in place.

    Args:
        module: Any module. Its layers may be replaced by factored ones: make optimisers afterwards.
        rule: Name of a registered rule.
        aggressiveness: In [0, 1].
        generator: For rules that draw; a fixed one when not given.
        heads: Names of the output layers, which are left alone; told from the module when not given
            (`rmt.heads.output_layers`).
        options: Of `rmt.Pruner`: options, noise, gate, overrides, budget, min_rank.

    Returns:
        What was done and why; a module with nothing to prune gives an empty report that says why.

    Raises:
        InvalidOption: An option out of range, a head or an override that is no layer.
        UnknownName: No such rule or estimator.
    """
    from rmt.pruner import Pruner

    options = {"total_parameters": count_parameters(module), **options}
    tool = Pruner(layers_of(module, heads), rule=rule, aggressiveness=aggressiveness, every=1, epochs=2, **options)
    report = prune_module(tool, module, 1, Memory(), generator or torch.Generator().manual_seed(0))
    return replace(report, epoch=0)


def prune_module(
    pruner: Pruner,
    module: nn.Module,
    epoch: int,
    memory: Memory,
    generator: torch.Generator,
    *,
    optimiser: Optimizer | None = None,
    carry: Carry = "project",
    validate: Validate | None = None,
    max_drop: float | None = None,
) -> PruneReport:
    """Cut every layer of a module that the pruner knows, in place; `Pruner.step` says what the arguments are."""
    if (validate is None) != (max_drop is None):
        raise InvalidOption("`validate` and `max_drop` belong together: one without the other decides nothing")
    places = {place.layer.name: place for place in places_of(module)}
    known = {name: place for name, place in places.items() if name in pruner.layers}
    before = count_parameters(module)
    weights = {name: [place.read(module)] for name, place in known.items()}
    cuts = [column[0] for column in pruner.cut(weights, epoch, [memory], [generator]).values()]
    floor = None if validate is None or max_drop is None else validate(module) - max_drop
    if floor is not None and math.isnan(floor):
        raise InvalidOption("`validate` gives NaN for the module as it is, before any cut; nothing was changed")
    done = [_carry_out(module, known[cut.name], cut, optimiser, carry, validate, floor) for cut in cuts]
    return PruneReport(
        epoch=epoch,
        cuts=tuple(done),
        without_matrix=_others(module, pruner, places),
        parameters_before=before,
        parameters_after=count_parameters(module),
    )


def count_parameters(module: nn.Module) -> int:
    """Parameters of a module: of weights that are matrices, the entries that are not zero; all of the others.

    Lazy ones, which have no size yet, do not count.
    """
    counted = {id(parameter): parameter for parameter in module.parameters()}
    total = sum(parameter.numel() for parameter in counted.values() if not is_lazy(parameter))
    for place in places_of(module):
        weight = place.read(module)
        total -= (weight.numel() if isinstance(weight, torch.Tensor) else parameters(weight)) - parameters(weight)
    return total


def _carry_out(
    module: nn.Module,
    place: Place,
    cut: Cut,
    optimiser: Optimizer | None,
    carry: Carry,
    validate: Validate | None,
    floor: float | None,
) -> Cut:
    """Write one cut, unless the validation it leads to is below `floor`; then take it back."""
    if cut.status != "cut":
        return cut
    weight = place.read(module)
    old = place.parameters(module)
    undo = place.write(module, cut.weight)
    # Not `<`: a network that the cut made give NaN is below every floor.
    if validate is not None and floor is not None and not (reached := validate(module)) >= floor:
        undo()
        reason = f"taken back: validation fell to {reached:.4g}, below {floor:.4g} (max_drop)"
        return replace(cut, status="kept", reason=reason, weight=weight, mask=None, rank=cut.rank_before)
    new = place.parameters(module)
    if optimiser is not None:
        carry_state(optimiser, old, new, weight, cut.weight, carry)
    return cut


def _others(module: nn.Module, pruner: Pruner, places: Mapping[str, Place]) -> dict[str, str]:
    reasons = {candidate.name: candidate.reason for candidate in candidates_of(module) if candidate.weight is None}
    return reasons | {name: "the pruner was not told of it" for name in places if name not in pruner.layers}
