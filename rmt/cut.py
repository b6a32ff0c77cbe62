"""One layer of one replicate at one pruning epoch: what was found, what was decided, what it became."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from rmt.matrices import Factors, Layer, Weight, dense, parameters, saves
from rmt.noise import NoiseFit
from rmt.plan import LayerPlan
from rmt.rebuild import rebuild
from rmt.spectrum import Spectrum, spectrum

Status = Literal["cut", "kept", "skipped"]


@dataclass(frozen=True, eq=False)
class Cut:
    """The result for one layer of one replicate.

    Attributes:
        name: The layer's.
        status: "cut": it was changed. "kept": it was looked at and nothing was to be removed. "skipped": it was
            not allowed, or had no spectrum.
        reason: Why, as a sentence.
        fit: The noise fit, if one was made.
        weight: What the layer is now; the very object that came in unless the status is "cut".
        mask: Entries that stay, if the rule removed entries; training has to keep the others at zero.
        rank, rank_before: Number of non-zero singular values; 0 for a weight with NaN.
        spectrum_before: All p singular values before, descending, float64; NaN for a weight with NaN.
    """

    name: str
    status: Status
    reason: str
    fit: NoiseFit | None
    weight: Weight
    mask: Bool[Tensor, "rows cols"] | None
    rank: int
    rank_before: int
    spectrum_before: Float64[Tensor, " p"]


@dataclass
class Case:
    """A layer of a replicate on its way to a `Cut`."""

    layer: Layer
    plan: LayerPlan
    weight: Weight
    spectrum: Spectrum
    seed: int
    fit: NoiseFit | None = None
    refusal: str | None = None
    notes: list[str] = field(default_factory=list)

    def decide(self, strength: float) -> Tensor:
        """What the rule says at this strength, with the floor on the rank kept.

        Nothing is drawn from shared state: the same case at the same strength decides the same.
        """
        generator = torch.Generator().manual_seed(self.seed)
        decision = self.plan.rule.function(self.spectrum, self.fit, strength, generator, **self.plan.options)
        if decision.dtype == torch.bool:
            return decision
        return _with_floor(decision, self.spectrum.singular_values, self.plan.min_rank)

    def parameters_after(self, decision: Tensor) -> int:
        """Parameters that the layer has once `decision` is carried out."""
        now = self.parameters_now()
        if decision.dtype == torch.bool:
            return min(now, int((dense(self.weight) != 0)[decision.to(self.device)].sum()))
        rows, cols, rank = self.layer.rows, self.layer.cols, int(torch.count_nonzero(decision))
        if isinstance(self.weight, Factors) or (self.layer.factorable and saves(rank, rows, cols)):
            return min(now, rank * (rows + cols))
        return now

    def parameters_now(self) -> int:
        """Parameters that the layer has."""
        return parameters(self.weight)

    @property
    def device(self) -> torch.device:
        """Where the weight is."""
        return self.weight.left.device if isinstance(self.weight, Factors) else self.weight.device

    def refused(self, reason: str) -> Cut:
        """The cut that leaves the layer alone."""
        return self._result("skipped", reason, self.weight, None, None)

    def carry_out(self, decision: Tensor) -> Cut:
        """The cut that does what the rule decided."""
        if decision.dtype == torch.bool:
            return self._mask(decision.to(self.device))
        return self._replace_values(decision)

    def _replace_values(self, values: Tensor) -> Cut:
        before = self.spectrum.singular_values
        present = torch.arange(len(before)) < self.spectrum.nonzero
        if torch.equal(values[present], before[present]):
            return self._result(
                "kept", f"rule {self.plan.rule.name} removes nothing here", self.weight, None, None
            )
        values = torch.where(present, values, 0.0)
        weight = rebuild(self.spectrum, values, factorable=self.layer.factorable)
        rank = int(torch.count_nonzero(values))
        form = "two factors" if isinstance(weight, Factors) else "dense"
        reason = f"{rank} of {self.spectrum.nonzero} singular values stay, {form}"
        return self._result("cut", reason, weight, None, rank)

    def _mask(self, mask: Tensor) -> Cut:
        matrix = dense(self.weight).detach()
        before, after = self.parameters_now(), int((matrix != 0)[mask].sum())
        if after >= before:
            return self._result(
                "kept", f"rule {self.plan.rule.name} removes nothing here", self.weight, None, None
            )
        weight = torch.where(mask, matrix, torch.zeros_like(matrix))
        rank = spectrum(weight).nonzero if after else 0
        return self._result("cut", f"{after} of {before} parameters stay", weight, mask, rank)

    def _result(self, status: Status, reason: str, weight: Weight, mask: Tensor | None, rank: int | None) -> Cut:
        rank_before = self.spectrum.nonzero
        return Cut(
            name=self.layer.name,
            status=status,
            reason="; ".join([reason, *self.notes]),
            fit=self.fit,
            weight=weight,
            mask=mask,
            rank=rank_before if rank is None else rank,
            rank_before=rank_before,
            spectrum_before=self.spectrum.singular_values,
        )


def _with_floor(values: Tensor, before: Tensor, floor: int) -> Tensor:
    """`values` with the largest removed ones put back until `floor` of them are there."""
    missing = floor - int(torch.count_nonzero(values))
    if missing <= 0:
        return values
    back = (values == 0).nonzero()[:missing, 0]
    return values.index_put((back,), before[back])
