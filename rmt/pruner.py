"""The pruning algorithm: at due epochs, fit every layer's noise, let the rule decide, write the result.

One call, `cut`, takes every layer of every replicate. Dense matrices of one shape share one batched eigenvalue
computation; everything else is done replicate by replicate, and a replicate with NaN never enters a batch.

Source: the algorithm "MP-based pruning" of arXiv:2310.03165 and its public code; differences are options.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from rmt.budget import allocate, strength_within
from rmt.cut import Case, Cut
from rmt.errors import DegenerateSpectrum, InvalidOption, InvalidWeight
from rmt.matrices import Layer, Weight, why_unusable
from rmt.memory import Memory
from rmt.module_pruning import Validate, prune_module
from rmt.noise import NoiseFit, fit
from rmt.optimiser_state import Carry, check_carry
from rmt.plan import plan_layers
from rmt.report import PruneReport
from rmt.schedule import Schedule, Shape
from rmt.spectrum import Spectrum
from rmt.stack_spectra import stack_spectra

REFITS = ("censored", "first_fit")
MOST_ZEROS = 0.75
"""With a larger share of zeros no central order statistics are left: a refit would take spikes for the bulk."""


class Pruner:
    """Prunes the layers of one network, or of a stack of replicates of it, over the epochs of a training.

    Args:
        layers: Every matrix that may be pruned.
        rule: Name of a registered rule.
        aggressiveness: Strength in [0, 1] when the schedule has reached its end; 1 when not given.
        options: The rule's own options.
        noise: `{"kind": estimator, ...its options}`.
        gate: Fields of `rmt.Gate`: which layers may be cut.
        every, epochs: Cut every `every` epochs, before the last of `epochs`.
        start: Epoch of the first cut; `every` when not given.
        schedule: "linear" (a ramp of the strength to the last cut), "constant" (all of it from the first cut on),
            or a function f of the epoch, such as `lambda epoch: max(0, 1 - epoch / 200)`: the fraction in [0, 1]
            that stays of what a rule may remove. The strength is aggressiveness · (1 − f); a rule's own `horizon`
            comes first.
        overrides: `{"match": glob of layer names or kinds, ...}` with any of rule, aggressiveness, options, noise,
            gate and min_rank.
        budget: Share of `total_parameters` to keep in the end; the strength is then what it takes, per replicate.
        total_parameters: Of the whole unpruned network, biases included; of the layers' matrices when not given.
        refit: "censored" fits every time, without the values that are zero; "first_fit" keeps each layer's first
            threshold.
        min_rank: Fewest singular values that a layer keeps.
        seed: Of `self.generator`, which `step` uses; `cut` is given its own.

    Raises:
        InvalidOption: An option out of range, two layers of one name, or an override that matches none of them.
        UnknownName: No such rule or estimator.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        rule: str,
        aggressiveness: float | None = None,
        options: Mapping[str, Any] | None = None,
        noise: Mapping[str, Any] | None = None,
        gate: Mapping[str, Any] | None = None,
        every: int,
        epochs: int,
        start: int | None = None,
        schedule: Shape = "linear",
        overrides: Sequence[Mapping[str, Any]] = (),
        budget: float | None = None,
        total_parameters: int | None = None,
        refit: str = "censored",
        min_rank: int = 1,
        seed: int = 0,
    ) -> None:
        if budget is not None and not 0 < budget <= 1:
            raise InvalidOption(f"budget is {budget}; it must lie in (0, 1]")
        if refit not in REFITS:
            raise InvalidOption(f"refit is {refit!r}; known: {', '.join(REFITS)}")
        self.layers = {layer.name: layer for layer in layers}
        if len(self.layers) != len(layers):
            raise InvalidOption("two layers have the same name")
        self.schedule = Schedule(every, epochs, start, schedule)
        self.plans = plan_layers(
            layers,
            {
                "rule": rule,
                "aggressiveness": aggressiveness,
                "options": options or {},
                "noise": noise or {},
                "gate": gate or {},
                "min_rank": min_rank,
            },
            overrides,
        )
        self.aggressiveness = 1.0 if aggressiveness is None else float(aggressiveness)
        self.horizon: int | None = (options or {}).get("horizon")
        self.budget = budget
        self.total_parameters = total_parameters
        self.refit = refit
        self.memory = Memory()
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def epochs_due(self) -> tuple[int, ...]:
        """Epochs after which to cut, all before the last epoch."""
        return self.schedule.epochs_due

    def strength(self, epoch: int) -> float:
        """Strength of the default rule at `epoch`, in [0, 1]; layers with overrides may have their own."""
        return self.schedule.strength(epoch, self.aggressiveness, self.horizon)

    def cut(
        self,
        weights: Mapping[str, Sequence[Weight]],
        epoch: int,
        memories: Sequence[Memory],
        generators: Sequence[torch.Generator],
    ) -> dict[str, list[Cut]]:
        """Cut every layer of every replicate.

        Args:
            weights: By layer name, a matrix or a pair of factors a replicate.
            epoch: The epoch that has just ended.
            memories: One a replicate; first fits are added to them.
            generators: One a replicate (on the CPU); each is advanced by the same amount whatever is decided.

        Returns:
            By layer name, a `Cut` a replicate.

        Raises:
            InvalidWeight: A matrix does not have its layer's shape, or a layer has not one weight a replicate.
            InvalidOption: A name that is no layer of this pruner.
        """
        spectra = stack_spectra(weights, self.layers)
        replicates = range(len(memories))
        if len(generators) != len(memories) or any(len(column) != len(memories) for column in spectra.values()):
            raise InvalidWeight(
                f"every layer and `generators` must have {len(memories)} replicates, as `memories`"
            )
        chosen = [
            self._cut_replicate(
                {name: column[r] for name, column in spectra.items()}, epoch, memories[r], generators[r]
            )
            for r in replicates
        ]
        return {name: [cuts[name] for cuts in chosen] for name in weights}

    def step(
        self,
        module: nn.Module,
        epoch: int,
        *,
        optimiser: Optimizer | None = None,
        carry: Carry = "project",
        validate: Validate | None = None,
        max_drop: float | None = None,
        force: bool = False,
    ) -> PruneReport | None:
        """Prune an ordinary module, in place, if a cut is due after `epoch`.

        Submodules are replaced by factored ones; the optimiser is told. What is remembered between steps (first
        fits, random state) is kept in `self.memory` and `self.generator`.

        Args:
            module: The network whose layers this pruner was made for (`rmt.layers_of(module)`).
            epoch: The epoch that has just ended.
            optimiser: To go on training with.
            carry: "project" its momentum onto the factors, or "reset" all it remembers, as public code does.
            validate: Gives the validation accuracy of a module; with `max_drop`, each layer whose cut takes it
                more than that below where it was before the step is taken back.
            max_drop: ε, in the units of `validate`.
            force: Cut even if no cut is due.

        Returns:
            What was done, or None if no cut is due.

        Raises:
            InvalidOption: `validate` without `max_drop`, or the reverse; `carry` is neither of the two.
        """
        check_carry(carry)
        if epoch not in self.epochs_due and not force:
            return None
        return prune_module(
            self,
            module,
            epoch,
            self.memory,
            self.generator,
            optimiser=optimiser,
            carry=carry,
            validate=validate,
            max_drop=max_drop,
        )

    def _cut_replicate(
        self, spectra: Mapping[str, Spectrum], epoch: int, memory: Memory, generator: torch.Generator
    ) -> dict[str, Cut]:
        cases = [self._case(name, values, generator) for name, values in spectra.items()]
        for case in cases:
            self._add_fit(case, memory)
        open_cases = [case for case in cases if case.refusal is None]
        strengths = self._strengths(cases, open_cases, epoch)
        decisions = {case.layer.name: case.decide(strengths[case.layer.name]) for case in open_cases}
        return {
            case.layer.name: case.refused(case.refusal)
            if case.refusal is not None
            else case.carry_out(decisions[case.layer.name])
            for case in cases
        }

    def _case(self, name: str, values: Spectrum, generator: torch.Generator) -> Case:
        seed = int(torch.randint(2**62, (1,), generator=generator))
        return Case(self.layers[name], self.plans[name], values.weight, values, seed)

    def _add_fit(self, case: Case, memory: Memory) -> None:
        """Fit the noise of one case where its rule or its gate asks for it, or note why it can not be cut."""
        plan, layer = case.plan, case.layer
        unusable = why_unusable(case.weight)
        if unusable is not None:
            case.refusal = f"its {unusable}"
            return
        case.refusal = plan.gate.refusal_before_fit(head=layer.head, smaller=layer.smaller)
        if case.refusal is not None or not plan.needs_fit:
            return
        try:
            case.fit = self._fit(case, memory.first_fits.get(layer.name))
        except DegenerateSpectrum as error:
            case.refusal = str(error)
            return
        memory.first_fits.setdefault(layer.name, case.fit)
        case.refusal = plan.gate.refusal_after_fit(case.fit)

    def _fit(self, case: Case, first: NoiseFit | None) -> NoiseFit:
        if first is not None and self.refit == "first_fit":
            return _frozen(first, case.spectrum)
        generator = torch.Generator().manual_seed(case.seed)
        try:
            found = fit(case.spectrum, case.plan.noise.name, generator=generator, **case.plan.noise_options)
        except DegenerateSpectrum as error:
            if first is None or case.spectrum.nonzero == 0:
                raise
            case.notes.append(f"with the first fit's threshold, because {error}")
            return _frozen(first, case.spectrum)
        if first is not None and found.zeros > MOST_ZEROS * case.spectrum.live.smaller:
            case.notes.append(f"with the first fit's threshold: {found.zeros} values are zero")
            return _frozen(first, case.spectrum)
        return found

    def _strengths(self, cases: list[Case], open_cases: list[Case], epoch: int) -> dict[str, float]:
        """Strength of every layer of one replicate, from the schedule or from the budget."""
        if self.budget is None:
            asked = {case.layer.name: self._scheduled(case, epoch) for case in open_cases}
            return allocate(open_cases, asked)
        own = sum(layer.rows * layer.cols for layer in self.layers.values())
        total = own if self.total_parameters is None else self.total_parameters
        target = total * (1 - (1 - self.budget) * self.schedule.progress(epoch))
        untouched = total - own + sum(case.parameters_now() for case in cases if case.refusal is not None)
        return strength_within(open_cases, target - untouched)

    def _scheduled(self, case: Case, epoch: int) -> float:
        horizon = case.plan.options.get("horizon")
        return self.schedule.strength(epoch, case.plan.aggressiveness, horizon)


def _frozen(first: NoiseFit, values: Spectrum) -> NoiseFit:
    """The first fit with what is above its threshold and removed now."""
    spikes = int((values.eigenvalues > first.threshold).sum())
    return replace(first, spikes=spikes, zeros=values.live.smaller - values.live.nonzero)
